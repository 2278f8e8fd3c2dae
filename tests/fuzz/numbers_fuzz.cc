// Any bytes as the text of a number: increment and increment_float agree with a reader of their
// own, never crash, and leave alone what is no number. What they wrote they read back.
#include <tern/store.h>

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace {

using tern::Status;

void require(bool as_expected, const char* what, std::string_view text) {
  if (as_expected) return;
  std::fprintf(stderr, "\n%s: '%.*s'\n", what, static_cast<int>(text.size()), text.data());
  std::abort();
}

tern::Store& store() {
  static tern::Store s = [] {
    tern::Options options;
    options.memory_bytes = std::size_t{4} << 20;
    options.hash_seed = 1;
    return std::move(*tern::Store::open(options));
  }();
  return s;
}

// The grammar, written out: an optional minus sign and digits.
bool is_integer(std::string_view text) {
  if (!text.empty() && text[0] == '-') text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string value_of(std::string_view key) {
  const tern::Lookup<tern::Value> v = store().get(key);
  return v ? std::string(v->view()) : "missing";
}

void try_integer(std::string_view text, std::int64_t delta) {
  require(store().set("i", text).ok(), "set", text);
  const tern::Result<std::int64_t> r = store().increment("i", delta);
  std::int64_t n = 0, sum = 0;
  const bool in_range =
      is_integer(text) &&
      std::from_chars(text.data(), text.data() + text.size(), n).ec == std::errc();
  const bool fits = in_range && !__builtin_add_overflow(n, delta, &sum);
  require(r.ok() == fits, "increment accepted what is none, or refused a number", text);
  if (r) {
    require(*r == sum, "another sum", text);
    require(value_of("i") == std::to_string(sum), "another text", text);
    return;
  }
  require(r.status() == Status::kWrongType || r.status() == Status::kOutOfRange, "another error",
          text);
  require(is_integer(text) || r.status() == Status::kWrongType, "no number is the wrong type",
          text);
  require(value_of("i") == text, "it changed what it refused", text);
}

void try_float(std::string_view text, double delta) {
  require(store().set("f", text).ok(), "set", text);
  const tern::Result<double> r = store().increment_float("f", delta);
  double n = 0;
  const std::from_chars_result parsed = std::from_chars(text.data(), text.data() + text.size(), n);
  const bool number =
      parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && std::isfinite(n);
  const bool fits = number && std::isfinite(n + delta);
  require(r.ok() == fits, "increment_float accepted what is none, or refused a number", text);
  if (!r) {
    require(r.status() == Status::kWrongType || r.status() == Status::kOutOfRange, "another error",
            text);
    require(value_of("f") == text, "it changed what it refused", text);
    return;
  }
  require(*r == n + delta, "another sum", text);
  const std::string written = value_of("f");
  double back = 0;
  std::from_chars(written.data(), written.data() + written.size(), back);
  require(back == n + delta, "it doesn't read back equal", written);
  require(store().increment_float("f", 0).ok(), "its own text is no number", written);
  char shortest[64];
  const std::to_chars_result s = std::to_chars(shortest, shortest + sizeof(shortest), n + delta);
  require(written.size() <= static_cast<std::size_t>(s.ptr - shortest), "longer than it need be",
          written);
}

}  // namespace

// The first nine bytes choose what is added, the rest is the text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 9) return 0;
  std::uint64_t bits = 0;
  std::memcpy(&bits, data + 1, sizeof(bits));
  const unsigned shift = data[0] % 64;
  const std::string_view text(reinterpret_cast<const char*>(data) + 9, size - 9);
  try_integer(text, static_cast<std::int64_t>(bits >> shift));
  double delta = 0;
  std::memcpy(&delta, &bits, sizeof(delta));
  try_float(text, std::isfinite(delta) ? delta : static_cast<double>(shift) / 8);
  try_float(text, static_cast<double>(shift) / 8);
  return 0;
}
