// Bugs that a test plants in what is of this folder, to see whether they would be found: one of each kind at a time. A library that
// isn't built with its steps visible has none.
#ifndef TERN_PERSIST_PLANTED_BUG_H_
#define TERN_PERSIST_PLANTED_BUG_H_

namespace tern::persist {

#if defined(TERN_SYNC_POINTS)
template <class Bug>
inline constinit Bug planted_bug = Bug::kNone;  // set while nobody calls what it is planted in
template <class Bug>
inline bool planted(Bug bug) noexcept {
  return planted_bug<Bug> == bug;
}
#else
template <class Bug>
constexpr bool planted(Bug) noexcept {
  return false;
}
#endif

}  // namespace tern::persist

#endif  // TERN_PERSIST_PLANTED_BUG_H_
