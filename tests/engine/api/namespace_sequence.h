// A sequence of operations on the default namespace and several others, written as bytes, run on a store and on a map for each
// of them side by side: every answer, listing, view, figure and watch must be that of the map alone.
#ifndef TERN_TESTS_ENGINE_API_NAMESPACE_SEQUENCE_H_
#define TERN_TESTS_ENGINE_API_NAMESPACE_SEQUENCE_H_

#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

// What differed first; empty: nothing. Any bytes are a sequence.
std::string run_namespaces(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_NAMESPACE_SEQUENCE_H_
