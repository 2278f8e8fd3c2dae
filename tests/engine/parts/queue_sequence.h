// A sequence of queue operations told by bytes, run on a queue and on a std::deque.
#ifndef TERN_TESTS_ENGINE_PARTS_QUEUE_SEQUENCE_H_
#define TERN_TESTS_ENGINE_PARTS_QUEUE_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

// Where they differ; empty if nowhere.
std::string run_queue_operations(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_QUEUE_SEQUENCE_H_
