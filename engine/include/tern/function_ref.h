// A reference to a callable, two words, no allocation: how callbacks cross into the library.
#ifndef TERN_FUNCTION_REF_H_
#define TERN_FUNCTION_REF_H_

#include <memory>
#include <type_traits>
#include <utility>

namespace tern {

template <class Signature>
class FunctionRef;

// Doesn't own what it refers to: for parameters only.
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
                                              std::is_invocable_r_v<R, F&, Args...>>>
  FunctionRef(F&& callable) noexcept
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace tern

#endif  // TERN_FUNCTION_REF_H_
