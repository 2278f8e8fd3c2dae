// The decisions of a schedule as bytes, and as the string that a person copies from a failure
// report.
#ifndef TERN_TESTS_SYNC_SCHEDULE_TEXT_H_
#define TERN_TESTS_SYNC_SCHEDULE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tern::concurrency {

// A byte is a thread's number (it takes the next step), 0x40 + a choice, or 0x80 + the thread of a
// freeze.
constexpr bool is_value(std::uint8_t code) { return (code & 0xc0) == 0x40; }
constexpr bool is_freeze(std::uint8_t code) { return (code & 0x80) != 0; }
constexpr unsigned value_of(std::uint8_t code) { return code & 0x3fu; }
constexpr unsigned freeze_of(std::uint8_t code) { return code & 0x7fu; }
constexpr std::uint8_t value_code(unsigned value) {
  return static_cast<std::uint8_t>(0x40 + value);
}
constexpr std::uint8_t freeze_code(unsigned thread) {
  return static_cast<std::uint8_t>(0x80 + thread);
}

// "2x5,0x12,v1,f0": thread 2 five times, thread 0 twelve times, choice 1, freeze of thread 0.
// Writes at most `size` characters, returns how many; never allocates, so a signal handler may call
// it.
std::size_t format_schedule(const std::vector<std::uint8_t>& codes, char* out, std::size_t size);
std::string format_schedule(const std::vector<std::uint8_t>& codes);
// Ends at the first thing that it doesn't understand.
std::vector<std::uint8_t> parse_schedule(std::string_view text);

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_SCHEDULE_TEXT_H_
