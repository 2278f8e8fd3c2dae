// A sequence of writes, views and maintenance written as bytes, run on a store and on a model side by side: each view must
// show the model as it stood when it was opened, by every way of reading, until it is closed or says that it has ended.
#ifndef TERN_TESTS_ENGINE_API_VIEW_SEQUENCE_H_
#define TERN_TESTS_ENGINE_API_VIEW_SEQUENCE_H_

#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

// What differed first; empty: nothing. Any bytes are a sequence.
std::string run_views(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_VIEW_SEQUENCE_H_
