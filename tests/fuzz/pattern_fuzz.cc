// Any bytes as a glob and a key: the compiler and the slow matcher agree on what is malformed, where, and on which keys
// match.
#include <tern/pattern.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/engine/parts/pattern_oracle.h"

namespace {

void require(bool as_expected, const char* what, std::string_view text, std::string_view key) {
  if (as_expected) return;
  std::fprintf(stderr, "\n%s: '%.*s' with '%.*s'\n", what, static_cast<int>(text.size()), text.data(),
               static_cast<int>(key.size()), key.data());
  std::abort();
}

}  // namespace

// A byte of options, a byte with the pattern's length, the pattern, the key.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 600) return 0;
  constexpr char kSeparators[] = {'.', '/', ':', '\0'};
  tern::PatternOptions options;
  options.separator = kSeparators[data[0] & 3];
  options.fold_case = (data[0] & 4) != 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string_view text = rest.substr(0, data[1]);
  const std::string_view key = rest.substr(text.size());
  const tern::test::PatternOracle oracle(text, options);
  const tern::Result<tern::Pattern> p = tern::Pattern::compile(text, options);
  if (oracle.gave_up()) return 0;
  require(p.ok() == !oracle.error(), "one of them calls it malformed", text, key);
  if (!p.ok()) {
    require(p.error().position == *oracle.error(), "another position", text, key);
    return 0;
  }
  require(p->matches(key) == oracle.matches(key), "another answer", text, key);
  require(!p->matches(key) || key.starts_with(p->literal_start()), "not the literal start", text, key);
  if (p->is_literal()) require(p->matches(p->literal_start()), "not literal", text, key);
  return 0;
}
