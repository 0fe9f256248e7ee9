#include "tests/fuzz/fuzz_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) { return fuzz_protocol(protocol_by_name("postgres"), p, n); }
