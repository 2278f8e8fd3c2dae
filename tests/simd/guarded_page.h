// A page between two that can't be touched: bytes put at its start or end have nothing readable
// before or behind them.
#ifndef TERN_TESTS_SIMD_GUARDED_PAGE_H_
#define TERN_TESTS_SIMD_GUARDED_PAGE_H_

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace tern::simd {

class GuardedPage {
 public:
  explicit GuardedPage(std::size_t pages = 1)
      : guard_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), size_(pages * guard_) {
    void* const base =
        mmap(nullptr, size_ + 2 * guard_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) std::abort();
    base_ = static_cast<char*>(base);
    if (mprotect(begin(), size_, PROT_READ | PROT_WRITE) != 0) std::abort();
  }
  ~GuardedPage() { munmap(base_, size_ + 2 * guard_); }
  GuardedPage(const GuardedPage&) = delete;
  GuardedPage& operator=(const GuardedPage&) = delete;

  char* begin() const { return base_ + guard_; }
  char* end() const { return begin() + size_; }

  char* put_at_end(std::string_view bytes) const { return put(end() - bytes.size(), bytes); }
  char* put_at_start(std::string_view bytes) const { return put(begin(), bytes); }

 private:
  static char* put(char* at, std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    return at;
  }

  std::size_t guard_;
  std::size_t size_;
  char* base_ = nullptr;
};

}  // namespace tern::simd

#endif  // TERN_TESTS_SIMD_GUARDED_PAGE_H_
