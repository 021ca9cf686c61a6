# SPDX-License-Identifier: Apache-2.0
# millrace_room(NAME SOURCES a.cpp … [LINK x …] [PRIVATE_LINK y …])
#   One folder = one static library. Header-only rooms give no SOURCES.
function(millrace_room NAME)
  cmake_parse_arguments(R "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  if(R_SOURCES)
    add_library(${NAME} STATIC ${R_SOURCES})
    target_link_libraries(${NAME} PUBLIC millrace_options ${R_LINK} PRIVATE ${R_PRIVATE_LINK})
  else()
    add_library(${NAME} INTERFACE)
    target_link_libraries(${NAME} INTERFACE millrace_options ${R_LINK} ${R_PRIVATE_LINK})
  endif()
endfunction()

# millrace_program(NAME SOURCES … LINK …): a binary in bin/.
function(millrace_program NAME)
  cmake_parse_arguments(P "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${NAME} ${P_SOURCES})
  target_link_libraries(${NAME} PRIVATE millrace_options ${P_LINK})
endfunction()

# millrace_test(NAME [LABEL] unit|property|integration|fuzz|gpu SOURCES … LINK …)
#   One doctest executable per room, one ctest entry.
function(millrace_test NAME)
  cmake_parse_arguments(T "" "LABEL" "SOURCES;LINK" ${ARGN})
  if(NOT T_LABEL AND T_UNPARSED_ARGUMENTS)
    list(GET T_UNPARSED_ARGUMENTS 0 T_LABEL)
  endif()
  if(NOT T_LABEL MATCHES "^(unit|property|integration|fuzz|gpu)$")
    message(FATAL_ERROR "millrace_test(${NAME}): LABEL must be one of unit, property, integration, fuzz, gpu")
  endif()
  add_executable(${NAME} ${T_SOURCES})
  target_link_libraries(${NAME} PRIVATE millrace_options millrace_doctest_main ${T_LINK})
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${NAME} COMMAND ${NAME})
  set_tests_properties(${NAME} PROPERTIES LABELS ${T_LABEL} TIMEOUT 600 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endfunction()

# millrace_runs_once(TARGET…): code behind commands that a person starts, bounded by disk and network: a release build
# compiles it quickly rather than for speed (a quarter of its compile time).
function(millrace_runs_once)
  foreach(target IN LISTS ARGN)
    target_compile_options(${target} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
  endforeach()
endfunction()
