#include "tests/engine/schedules/private_arena.h"

#include <cstdint>

#include "alloc/private_memory.h"

namespace {

constexpr std::size_t kBytes = std::size_t{4} << 20;
alignas(4096) std::byte memory[kBytes];
std::size_t handed_out = 0;

}  // namespace

namespace tern::concurrency {

std::byte* PrivateArena::begin() { return memory; }
std::size_t PrivateArena::used() { return handed_out; }
void PrivateArena::rewind(std::size_t bytes) { handed_out = bytes; }

}  // namespace tern::concurrency

namespace tern::alloc {

void* private_allocate(std::size_t bytes) noexcept { return private_allocate_aligned(bytes, 16); }

void* private_allocate_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  const std::size_t at = (handed_out + alignment - 1) / alignment * alignment;
  if (bytes > kBytes || at > kBytes - bytes) return nullptr;
  handed_out = at + bytes;
  return memory + at;
}

void private_free(void*) noexcept {}

}  // namespace tern::alloc
