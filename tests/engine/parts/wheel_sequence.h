// A sequence of wheel operations told by bytes, run on a wheel and on a map of what is due when.
#ifndef TERN_TESTS_ENGINE_PARTS_WHEEL_SEQUENCE_H_
#define TERN_TESTS_ENGINE_PARTS_WHEEL_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

// Where they differ; empty if nowhere.
std::string run_wheel_operations(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_WHEEL_SEQUENCE_H_
