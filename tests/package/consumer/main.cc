// A user's program: a store, its main calls, a clock and a callback of its own. It checks what it gets.
#include <tern/hash.h>
#include <tern/store.h>
#include <tern/typed.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

namespace {

// A host with run-time type information derives from a class of a library built without it.
class FixedClock : public tern::Clock {
 public:
  std::chrono::milliseconds now() const noexcept override { return time; }
  std::chrono::milliseconds time{1'000};
};

struct Position {
  float x, y, z;
};

int failures = 0;

void expect(bool fact, const char* what) {
  if (!fact) {
    std::printf("not so: %s\n", what);
    ++failures;
  }
}

}  // namespace

int main() {
  FixedClock clock;
  auto opened = tern::Store::open({.memory_bytes = std::size_t{16} << 20, .hash_seed = 17, .clock = &clock});
  if (!opened) {
    std::printf("open: %s (%s)\n", tern::status_name(opened.status()), tern::field_name(opened.error().field));
    return 1;
  }
  const tern::Store& store = *opened;

  expect(store.set("player:17", "hello").ok(), "a key can be set");
  std::array<char, 64> buffer;
  const auto size = store.get("player:17", std::span<char>(buffer));
  expect(size && std::string_view(buffer.data(), *size) == "hello", "what was set is found");
  expect(store.get("player:18").missing(), "what was not set is a miss");

  std::size_t visited = 0;
  expect(store.visit("player:17", [&](std::string_view value) { visited = value.size(); }).found() && visited == 5,
         "a visitor sees the value");

  expect(store.set("soon gone", "x", {.ttl = std::chrono::milliseconds(10)}).ok(), "a key can have a lifetime");
  clock.time += std::chrono::milliseconds(10);
  expect(store.get("soon gone").missing(), "the host's clock ends it");

  const std::vector<std::string_view> keys = {"player:17", "player:18"};
  tern::Values values;
  expect(store.get_many(keys, values).ok() && values.size() == 2, "several keys can be read at once");
  expect(values[0].found() && *values[0] == "hello" && values[1].missing(), "each has its answer");

  const tern::Typed<std::uint64_t, Position> positions(store);
  expect(positions.set(7, {1, 2, 3}).ok(), "a struct can be set");
  const auto position = positions.get(7);
  expect(position && position->y == 2.0F, "a struct comes back");

  std::uint64_t hashes[2];
  tern::hash_keys_batch(keys, 17, hashes);
  expect(hashes[1] == tern::hash_key("player:18", 17), "both forms of the hash agree");

  expect(store.del("player:17").ok() && store.stats().entries >= 1, "the rest is still there");
  std::printf(failures == 0 ? "consumer: ok\n" : "consumer: %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
