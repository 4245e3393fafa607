// A target without a source file has no object for the linker; every shim is a static inline function of the headers.
#include "CStratoLinux.h"
