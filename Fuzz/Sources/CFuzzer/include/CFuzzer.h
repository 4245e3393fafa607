#pragma once

#include <stddef.h>
#include <stdint.h>

/// libFuzzer's own main function (LLVM, docs/LibFuzzer.rst, "Using libFuzzer as a library").
int LLVMFuzzerRunDriver(
    int *_Nonnull argc, char *_Nullable *_Nonnull *_Nonnull argv,
    int (*_Nonnull callback)(const uint8_t *_Nullable bytes, size_t count));
