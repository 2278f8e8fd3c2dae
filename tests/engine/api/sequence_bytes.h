// What a sequence of operations is read from, and the time in which it runs.
#ifndef TERN_TESTS_ENGINE_API_SEQUENCE_BYTES_H_
#define TERN_TESTS_ENGINE_API_SEQUENCE_BYTES_H_

#include <tern/options.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tern::test {

class StillClock final : public Clock {
 public:
  std::chrono::milliseconds now() const noexcept override { return at; }
  std::chrono::milliseconds at{1'000'000};
};

// Reads the sequence; zeroes behind its end.
class Bytes {
 public:
  explicit Bytes(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return at_ >= bytes_.size(); }
  unsigned byte() { return empty() ? 0 : bytes_[at_++]; }
  unsigned two_bytes() {
    const unsigned high = byte();
    return high << 8 | byte();
  }
  unsigned below(unsigned n) { return (n <= 256 ? byte() : two_bytes()) % n; }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_SEQUENCE_BYTES_H_
