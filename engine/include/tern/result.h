// The two shapes of an answer: Result<T>, a value or an error, and Lookup<T>, which adds the third outcome of a
// read, a miss. Neither allocates or throws; for small T both travel in two registers.
#ifndef TERN_RESULT_H_
#define TERN_RESULT_H_

#include <tern/status.h>

#include <type_traits>
#include <utility>

namespace tern {

// A value or an error. Reading the value of an error gives a default T, never undefined behaviour.
template <class T>
class [[nodiscard]] Result {
 public:
  constexpr Result() noexcept = default;
  constexpr Result(T value) noexcept : value_(std::move(value)) {}
  constexpr Result(Error error) noexcept : error_(error) {}
  constexpr Result(Status status, Field field = Field::kNone) noexcept : error_{status, field} {}

  constexpr bool ok() const noexcept { return error_.status == Status::kOk; }
  constexpr explicit operator bool() const noexcept { return ok(); }
  constexpr Status status() const noexcept { return error_.status; }
  constexpr Error error() const noexcept { return error_; }

  constexpr T& value() & noexcept { return value_; }
  constexpr const T& value() const& noexcept { return value_; }
  constexpr T&& value() && noexcept { return std::move(value_); }
  constexpr T& operator*() & noexcept { return value_; }
  constexpr const T& operator*() const& noexcept { return value_; }
  constexpr T&& operator*() && noexcept { return std::move(value_); }
  constexpr T* operator->() noexcept { return &value_; }
  constexpr const T* operator->() const noexcept { return &value_; }

 private:
  T value_{};
  Error error_{};
};

template <>
class [[nodiscard]] Result<void> {
 public:
  constexpr Result() noexcept = default;
  constexpr Result(Error error) noexcept : error_(error) {}
  constexpr Result(Status status, Field field = Field::kNone) noexcept : error_{status, field} {}

  constexpr bool ok() const noexcept { return error_.status == Status::kOk; }
  constexpr explicit operator bool() const noexcept { return ok(); }
  constexpr Status status() const noexcept { return error_.status; }
  constexpr Error error() const noexcept { return error_; }

 private:
  Error error_{};
};

// The answer of a read: found (true), missing, or failed.
//   if (auto hit = store.get(key, buffer)) use(buffer.first(*hit)); else if (hit.failed()) report(hit.error());
template <class T>
class [[nodiscard]] Lookup {
 public:
  constexpr Lookup() noexcept = default;  // a miss
  constexpr Lookup(T value) noexcept : value_(std::move(value)), error_{Status::kOk, Field::kNone} {}
  constexpr Lookup(Error error) noexcept : error_(error) {}
  constexpr Lookup(Status status, Field field = Field::kNone) noexcept : error_{status, field} {}

  constexpr bool found() const noexcept { return error_.status == Status::kOk; }
  constexpr explicit operator bool() const noexcept { return found(); }
  constexpr bool missing() const noexcept { return error_.status == Status::kNotFound; }
  constexpr bool failed() const noexcept { return !found() && !missing(); }
  constexpr Status status() const noexcept { return error_.status; }
  constexpr Error error() const noexcept { return error_; }

  constexpr T& value() & noexcept { return value_; }
  constexpr const T& value() const& noexcept { return value_; }
  constexpr T&& value() && noexcept { return std::move(value_); }
  constexpr T& operator*() & noexcept { return value_; }
  constexpr const T& operator*() const& noexcept { return value_; }
  constexpr T&& operator*() && noexcept { return std::move(value_); }
  constexpr T* operator->() noexcept { return &value_; }
  constexpr const T* operator->() const noexcept { return &value_; }

 private:
  T value_{};
  Error error_{Status::kNotFound, Field::kNone};
};

}  // namespace tern

#endif  // TERN_RESULT_H_
