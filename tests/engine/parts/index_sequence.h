// A sequence of index operations told by bytes, run on an ordered index and on a std::map.
#ifndef TERN_TESTS_ENGINE_PARTS_INDEX_SEQUENCE_H_
#define TERN_TESTS_ENGINE_PARTS_INDEX_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

// Where they differ; empty if nowhere.
std::string run_index_operations(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_INDEX_SEQUENCE_H_
