// A thin typed face over a store for trivially copyable keys and values: a game's std::uint64_t -> struct without
// serialisation by hand. Same table, same guarantees; keys are their object bytes.
#ifndef TERN_TYPED_H_
#define TERN_TYPED_H_

#include <tern/store.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>

namespace tern {

// Key and V: trivially copyable, without padding in the key (equal keys must have equal bytes). `Handle` is Store or
// Session, held by reference: it must outlive this. A value of another size under the same key answers wrong_type.
template <class Key, class V, class Handle = Store>
class Typed {
  static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<V>,
                "a typed store copies object bytes");
  static_assert(std::has_unique_object_representations_v<Key>, "padding would make equal keys differ");

 public:
  explicit Typed(const Handle& handle) noexcept : handle_(&handle) {}

  Lookup<V> get(const Key& key) const noexcept {
    alignas(V) char bytes[sizeof(V)];
    const Lookup<std::size_t> r = handle_->get(as_bytes(key), std::span<char>(bytes));
    if (!r) return r.error();
    if (*r != sizeof(V)) return Status::kWrongType;
    V value;
    std::memcpy(&value, bytes, sizeof(V));
    return value;
  }
  Result<std::uint64_t> set(const Key& key, const V& value) const noexcept {
    return handle_->set(as_bytes(key), as_bytes(value));
  }
  Result<std::uint64_t> set(const Key& key, const V& value, const SetOptions& options) const noexcept {
    return handle_->set(as_bytes(key), as_bytes(value), options);
  }
  Result<bool> set_nx(const Key& key, const V& value) const noexcept {
    return handle_->set_nx(as_bytes(key), as_bytes(value));
  }
  Result<bool> del(const Key& key) const noexcept { return handle_->del(as_bytes(key)); }
  Result<bool> exists(const Key& key) const noexcept { return handle_->exists(as_bytes(key)); }
  Result<bool> compare_and_swap(const Key& key, const V& expected, const V& desired) const noexcept {
    return handle_->compare_and_swap(as_bytes(key), as_bytes(expected), as_bytes(desired));
  }
  // fn(V&) changes the value in a copy, which replaces it atomically; a missing key is a miss. fn may run again.
  template <class Fn>
  Lookup<V> modify(const Key& key, Fn&& fn) const noexcept {
    V value{};
    bool fits = true;
    const Result<Update::Kind> r =
        handle_->update(as_bytes(key), [&](std::optional<std::string_view> current) -> Update {
          fits = !current || current->size() == sizeof(V);
          if (!current || !fits) return Update::keep();
          std::memcpy(&value, current->data(), sizeof(V));
          fn(value);
          return Update::replace(as_bytes(value));
        });
    if (!r) return r.error();
    if (!fits) return Status::kWrongType;
    if (*r == Update::Kind::kKeep) return Status::kNotFound;
    return value;
  }

 private:
  template <class T>
  static std::string_view as_bytes(const T& object) noexcept {
    return {reinterpret_cast<const char*>(&object), sizeof(T)};
  }
  const Handle* handle_;
};

}  // namespace tern

#endif  // TERN_TYPED_H_
