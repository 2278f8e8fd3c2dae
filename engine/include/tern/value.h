// Values that leave the store: Value owns a copy, Values the answers of a multi-key read, HeldValue keeps the
// store's own bytes alive.
#ifndef TERN_VALUE_H_
#define TERN_VALUE_H_

#include <tern/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tern {

namespace detail {
class StoreCore;
}

// An owned run of bytes; up to kInlineBytes lie in the object itself. Movable. Allocation never throws: assign()
// answers false and leaves the value empty.
class TERN_API Value {
 public:
  static constexpr std::size_t kInlineBytes = 64;

  Value() noexcept = default;
  explicit Value(std::string_view bytes) noexcept { (void)assign(bytes); }
  Value(Value&& other) noexcept;
  Value& operator=(Value&& other) noexcept;
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  ~Value() { release(); }

  // False: no memory; the value is empty then.
  [[nodiscard]] bool assign(std::string_view bytes) noexcept;
  // Room for `size` bytes, not initialised; null: no memory. What was here is lost.
  [[nodiscard]] char* resize(std::size_t size) noexcept;
  void clear() noexcept { size_ = 0; }

  const char* data() const noexcept { return heap_ != nullptr ? heap_ : inline_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::string_view view() const noexcept { return {data(), size_}; }
  operator std::string_view() const noexcept { return view(); }

  friend bool operator==(const Value& a, std::string_view b) noexcept { return a.view() == b; }

 private:
  void release() noexcept;

  char* heap_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = kInlineBytes;
  char inline_[kInlineBytes];
};

// A key's state at one moment.
struct Entry {
  Value value{};
  std::uint64_t version = 0;                       // grows with each change of the key, also across removals
  std::optional<std::chrono::milliseconds> ttl{};    // what remains, >= 1 ms; none: no deadline
  Value metadata{};                                // SetOptions::metadata; empty: it has none
};

// The answers of get_many, in the order asked, in one buffer that is reused from call to call: a reader that keeps
// its Values allocates nothing in a steady state. A view stays valid until the next call that fills this object.
class TERN_API Values {
 public:
  Values() noexcept = default;
  Values(Values&& other) noexcept;
  Values& operator=(Values&& other) noexcept;
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  ~Values();

  std::size_t size() const noexcept { return count_; }
  Lookup<std::string_view> operator[](std::size_t index) const noexcept {
    const Answer& a = answers_[index];
    if (a.error.status != Status::kOk) return a.error;
    return std::string_view(bytes_ + a.at, a.size);
  }

 private:
  friend class detail::StoreCore;
  struct Answer {
    std::size_t at;
    std::size_t size;
    Error error;
  };

  Answer* answers_ = nullptr;
  std::size_t count_ = 0;
  std::size_t answers_capacity_ = 0;
  char* bytes_ = nullptr;
  std::size_t used_ = 0;
  std::size_t bytes_capacity_ = 0;
};

// The store's own bytes, kept alive: no copy was made (unless Options::held_bytes_max was reached). It blocks no
// writer and keeps nothing else from being reclaimed; it outlives replacement, removal and close of the store.
// Movable; may be released by any thread.
class TERN_API HeldValue {
 public:
  HeldValue() noexcept = default;
  HeldValue(HeldValue&& other) noexcept;
  HeldValue& operator=(HeldValue&& other) noexcept;
  HeldValue(const HeldValue&) = delete;
  HeldValue& operator=(const HeldValue&) = delete;
  ~HeldValue() { release(); }

  std::string_view view() const noexcept { return {data_, size_}; }
  const char* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::uint64_t version() const noexcept { return version_; }
  bool copied() const noexcept { return core_ == nullptr && data_ != nullptr; }
  void release() noexcept;

 private:
  friend class detail::StoreCore;

  detail::StoreCore* core_ = nullptr;
  std::uint64_t record_ = 0;
  const char* data_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t version_ = 0;
  Value copy_;
};

}  // namespace tern

#endif  // TERN_VALUE_H_
