// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Kernels are one function each: vectors stay in registers, and no copy of a helper compiled for
/// one instruction set can be taken for another's.
#define MILLRACE_INLINED __attribute__((always_inline))
#define MILLRACE_INLINE inline MILLRACE_INLINED
