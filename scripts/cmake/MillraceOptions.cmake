# SPDX-License-Identifier: Apache-2.0
# Standard, warnings and sanitizers: every target links millrace_options.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
# The assertions are those of libraries; ours are MR_CHECK, which stays. Sanitized builds keep both.
if(NOT MILLRACE_SANITIZE)
  string(APPEND CMAKE_CXX_FLAGS_RELWITHDEBINFO " -DNDEBUG")
else()
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1") # the tests run five times as fast as with -O0
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_package(Threads REQUIRED)

add_library(millrace_options INTERFACE)
target_include_directories(millrace_options INTERFACE ${CMAKE_SOURCE_DIR})
target_link_libraries(millrace_options INTERFACE Threads::Threads)
set(warnings
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wnon-virtual-dtor
    -Woverloaded-virtual -Wdouble-promotion -Wformat=2)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports maybe-uninitialized inside library templates (std::optional, expected).
  list(APPEND warnings -Wduplicated-cond -Wlogical-op -Wno-maybe-uninitialized)
endif()
target_compile_options(millrace_options INTERFACE "$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:${warnings}>")
find_program(MOLD mold)
if(MOLD)
  target_link_options(millrace_options INTERFACE -fuse-ld=mold)
endif()
if(MILLRACE_SANITIZE)
  target_compile_options(millrace_options INTERFACE -fsanitize=${MILLRACE_SANITIZE} -fno-omit-frame-pointer
                                                   -fno-sanitize-recover=all)
  target_link_options(millrace_options INTERFACE -fsanitize=${MILLRACE_SANITIZE})
  if(MILLRACE_SANITIZE MATCHES "thread")
    target_compile_options(millrace_options INTERFACE -Wno-tsan)
  endif()
endif()
