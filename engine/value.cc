// Values that leave the store.
#include <tern/value.h>

#include <cstring>
#include <utility>

#include "alloc/private_memory.h"
#include "engine/store_core.h"

namespace tern {

Value::Value(Value&& other) noexcept
    : heap_(std::exchange(other.heap_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, kInlineBytes)) {
  if (heap_ == nullptr) std::memcpy(inline_, other.inline_, size_);
}

Value& Value::operator=(Value&& other) noexcept {
  if (this == &other) return *this;
  release();
  heap_ = std::exchange(other.heap_, nullptr);
  size_ = std::exchange(other.size_, 0);
  capacity_ = std::exchange(other.capacity_, kInlineBytes);
  if (heap_ == nullptr) std::memcpy(inline_, other.inline_, size_);
  return *this;
}

char* Value::resize(std::size_t size) noexcept {
  if (size > capacity_) {
    release();
    auto* heap = static_cast<char*>(alloc::private_allocate(size));
    if (heap == nullptr) return nullptr;
    heap_ = heap;
    capacity_ = size;
  }
  size_ = size;
  return heap_ != nullptr ? heap_ : inline_;
}

bool Value::assign(std::string_view bytes) noexcept {
  char* to = resize(bytes.size());
  if (to == nullptr) return false;
  if (!bytes.empty()) std::memmove(to, bytes.data(), bytes.size());
  return true;
}

void Value::release() noexcept {
  alloc::private_free(heap_);
  heap_ = nullptr;
  size_ = 0;
  capacity_ = kInlineBytes;
}

Values::Values(Values&& other) noexcept
    : answers_(std::exchange(other.answers_, nullptr)),
      count_(std::exchange(other.count_, 0)),
      answers_capacity_(std::exchange(other.answers_capacity_, 0)),
      bytes_(std::exchange(other.bytes_, nullptr)),
      used_(std::exchange(other.used_, 0)),
      bytes_capacity_(std::exchange(other.bytes_capacity_, 0)) {}

Values& Values::operator=(Values&& other) noexcept {
  Values moved(std::move(other));
  std::swap(answers_, moved.answers_);
  std::swap(count_, moved.count_);
  std::swap(answers_capacity_, moved.answers_capacity_);
  std::swap(bytes_, moved.bytes_);
  std::swap(used_, moved.used_);
  std::swap(bytes_capacity_, moved.bytes_capacity_);
  return *this;
}

Values::~Values() {
  alloc::private_free(answers_);
  alloc::private_free(bytes_);
}

HeldValue::HeldValue(HeldValue&& other) noexcept
    : core_(std::exchange(other.core_, nullptr)),
      record_(std::exchange(other.record_, 0)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      version_(std::exchange(other.version_, 0)),
      copy_(std::move(other.copy_)) {
  if (copied()) data_ = copy_.data();
}

HeldValue& HeldValue::operator=(HeldValue&& other) noexcept {
  if (this == &other) return *this;
  release();
  core_ = std::exchange(other.core_, nullptr);
  record_ = std::exchange(other.record_, 0);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  version_ = std::exchange(other.version_, 0);
  copy_ = std::move(other.copy_);
  if (copied()) data_ = copy_.data();
  return *this;
}

void HeldValue::release() noexcept {
  if (core_ != nullptr) core_->release(*this);
  core_ = nullptr;
  data_ = nullptr;
  size_ = 0;
  copy_.clear();
}

namespace detail {

Lookup<HeldValue> StoreCore::hold(Thr& t, std::string_view key) noexcept {
  Lookup<HeldValue> answer{HeldValue()};
  HeldValue& v = *answer;
  bool copied = true;
  const bool found = core.read_head(t, key, [&](const Head<Sync>& h) {
    v.version_ = h.version;
    v.size_ = h.value_size;
    const std::uint64_t bytes = core.space.bytes_of(core.space.offset_of(*h.record));
    if (take_held(bytes)) {
      if (core.space.try_hold(*h.record)) {
        v.core_ = this;
        v.record_ = core.space.offset_of(*h.record);
        v.data_ = h.value;
        return;
      }
      drop_held(bytes);
    }
    copied = v.copy_.assign(h.bytes());
    v.data_ = v.copy_.data();
  });
  if (!found) return Status::kNotFound;
  if (!copied) return Status::kOutOfMemory;
  return answer;
}

void StoreCore::release(HeldValue& value) noexcept {
  const std::uint64_t bytes = core.space.bytes_of(value.record_);
  // A thread that can't be registered leaves the record to the end of the store.
  if (Thr* t = thread()) core.space.drop_hold(*t, value.record_);
  drop_held(bytes);
}

}  // namespace detail
}  // namespace tern
