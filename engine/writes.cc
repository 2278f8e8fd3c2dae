// The sets without conditions, on the best instruction set of the machine.
#include "engine/writes.h"

#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern::detail {

namespace {

// From where the short way had to stop.
[[gnu::noinline]] Answer set_built(Context c, std::string_view key, std::uint64_t hash, std::string_view value,
                                   std::uint64_t built) noexcept {
  auto& t = *reinterpret_cast<Thread<StdSync>*>(c.thread);
  auto& core = c.core->core;
  PutChange<StdSync> change(core.space, t, key, value, built);
  const Committed done = core.write(t, hash, key, change);
  if (done.outcome == Committed::Outcome::kPut) [[likely]] return done.version;
  const Result<std::uint64_t> r = c.core->refuse_or_drop(t, hash, key);
  return answer_of(r ? *r : 0, r.error());
}

// A set in every case.
[[gnu::noinline, gnu::cold]] Answer set_any(Context c, std::string_view key, std::string_view value) noexcept {
  const Call call(c, key);
  if (!call.ok()) {
    const Result<std::uint64_t> r = call.otherwise(c, key, [&](Context d, std::string_view k) { return detail::set(d, k, value); });
    return answer_of(r ? *r : 0, r.error());
  }
  if (value.size() > call.store().value_bytes_max) return answer_of(0, {Status::kTooLarge, Field::kValue});
  const std::uint64_t hash = call.core().hash_of(key);
  call.core().prefetch_bucket(hash);
  return set_built({c.core, reinterpret_cast<ThreadState*>(&call.thread())}, key, hash, value, 0);
}

[[gnu::noinline]] Committed set_in_group_built(StoreCore& store, Thread<StdSync>& t, std::uint64_t hash, std::string_view key,
                                               std::string_view value, std::uint64_t built) noexcept {
  PutChange<StdSync> change(store.core.space, t, key, value, built);
  return store.core.write(t, hash, key, change);
}

}  // namespace

}  // namespace tern::detail

#define TERN_WRITES_DISPATCHED
#define TERN_TARGET portable
#define TERN_TARGET_LEVEL TERN_LEVEL_BASE
#include "engine/reads-inl.h"
#include "engine/writes-inl.h"
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL

#if defined(TERN_MANY_TARGETS)
#define TERN_TARGET avx2
#define TERN_TARGET_LEVEL TERN_LEVEL_AVX2
TERN_BEFORE_AVX2
#include "simd/probe-inl.h"
#include "engine/reads-inl.h"
#include "engine/writes-inl.h"
TERN_AFTER_TARGET
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL

#define TERN_TARGET avx512
#define TERN_TARGET_LEVEL TERN_LEVEL_AVX512
TERN_BEFORE_AVX512
#include "simd/probe-inl.h"
#include "engine/reads-inl.h"
#include "engine/writes-inl.h"
TERN_AFTER_TARGET
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL
#endif

namespace tern::detail {

namespace {

struct Entries {
  Answer (*set)(Context, std::string_view, std::string_view) noexcept;
  Committed (*set_in_group)(StoreCore&, Thread<StdSync>&, std::uint64_t, std::string_view, std::string_view) noexcept;
};

// Written while the first store is opened, before any call on a store can come here.
constinit Entries entries{portable::set, portable::set_in_group};

}  // namespace

void choose_writes(int level) noexcept {
  entries = {portable::set, portable::set_in_group};
#if defined(TERN_MANY_TARGETS)
  if (level >= TERN_LEVEL_AVX2) entries = {avx2::set, avx2::set_in_group};
  if (level >= TERN_LEVEL_AVX512) entries = {avx512::set, avx512::set_in_group};
#else
  (void)level;
#endif
}

Result<std::uint64_t> set(Context c, std::string_view key, std::string_view value) noexcept {
  return std::bit_cast<Result<std::uint64_t>>(entries.set(c, key, value));
}

Committed set_in_group(StoreCore& store, Thread<StdSync>& t, std::uint64_t hash, std::string_view key, std::string_view value) noexcept {
  return entries.set_in_group(store, t, hash, key, value);
}

}  // namespace tern::detail
