// The gets that copy into the caller's memory, on the best instruction set of the machine.
#include "engine/reads.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern::detail {

namespace {

// A get in every case. What is past the buffer: its size. A long copy holds the record instead of the guard, so that
// it keeps no other memory from being reused.
Lookup<std::size_t> get_any(Context c, std::string_view key, char* out, std::size_t out_size) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.read_otherwise(c, key, [&](Context d, std::string_view k) { return detail::get(d, k, out, out_size); });
  const std::uint64_t hash = call.core().hash_of(key);
  const std::uint64_t size = call.core().copy(call.thread(), hash, key, out,
                                              out_size < kCopyInGuardMax ? out_size : kCopyInGuardMax);
  if (size < kTooLong) return static_cast<std::size_t>(size);
  if (size == kMissing) return Status::kNotFound;
  std::uint64_t long_size = 0;
  const bool found = call.core().read(call.thread(), hash, key, [&](const char*, std::uint64_t n) { long_size = n; });
  if (!found) return Status::kNotFound;
  if (long_size > out_size) return static_cast<std::size_t>(long_size);
  const auto held = call.store().hold(call.thread(), key);
  if (!held) return held.error();
  if (held->size() <= out_size && held->size() != 0) std::memcpy(out, held->data(), held->size());
  return held->size();
}

constexpr Answer kMissAnswer = answer_of(0, {Status::kNotFound, Field::kNone});

[[gnu::noinline, gnu::cold]] Answer get_any_answer(Context c, std::string_view key, char* out,
                                                   std::size_t out_size) noexcept {
  const Lookup<std::size_t> r = get_any(c, key, out, out_size);
  return answer_of(r.value(), r.error());
}

// The hash of a key as it is stored; 0: there is nothing to prepare.
[[gnu::noinline, gnu::cold]] std::uint64_t prepare_any(Context c, std::string_view key) noexcept {
  if (c.core == nullptr || c.core->is_closed() || key.empty()) return 0;
  const StoredKey stored(c, key);
  const std::uint64_t hash = c.core->core.hash_of(stored.view());
  c.core->core.prefetch_bucket(hash);
  return hash;
}

// One key of a group that isn't on the way of almost every read; inside the group's guard.
[[gnu::noinline, gnu::cold]] Lookup<std::size_t> get_late(StoreCore& store, Thread<StdSync>& t, std::uint64_t hash,
                                                          std::string_view key, char* out,
                                                          std::size_t stride) noexcept {
  const Head<StdSync> h = key.size() <= kStoredKeyBytesMax ? store.core.head(hash, key) : Head<StdSync>{};
  if (!h.present) {
    t.counters.misses.add();
    return Call::miss_or_bad(key);
  }
  if (h.value_size <= stride) simd::copy_bytes(out, h.value, h.value_size);
  t.counters.hits.add();
  store.core.note_hit(t, *h.record, hash);
  store.core.accessed(t, key, h);
  return static_cast<std::size_t>(h.value_size);
}

}  // namespace

}  // namespace tern::detail

#define TERN_READS_DISPATCHED
#define TERN_TARGET portable
#define TERN_TARGET_LEVEL TERN_LEVEL_BASE
#include "engine/reads-inl.h"
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL

#if defined(TERN_MANY_TARGETS)
#define TERN_TARGET avx2
#define TERN_TARGET_LEVEL TERN_LEVEL_AVX2
TERN_BEFORE_AVX2
#include "simd/probe-inl.h"
#include "engine/reads-inl.h"
TERN_AFTER_TARGET
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL

#define TERN_TARGET avx512
#define TERN_TARGET_LEVEL TERN_LEVEL_AVX512
TERN_BEFORE_AVX512
#include "simd/probe-inl.h"
#include "engine/reads-inl.h"
TERN_AFTER_TARGET
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL
#endif

namespace tern::detail {

namespace {

struct Entries {
  Answer (*get)(Context, std::string_view, char*, std::size_t) noexcept;
  Answer (*get_token)(Context, std::string_view, std::uint64_t, char*, std::size_t) noexcept;
  std::uint64_t (*prepare)(Context, std::string_view) noexcept;
  void (*get_group)(StoreCore&, Thread<StdSync>&, const std::string_view*, unsigned, char*, std::size_t,
                    Lookup<std::size_t>*) noexcept;
};

// Written while the first store is opened, before any call on a store can come here.
constinit Entries entry_points{portable::get, portable::get_token, portable::prepare, portable::get_group};

}  // namespace

void choose_reads(int level) noexcept {
  entry_points = {portable::get, portable::get_token, portable::prepare, portable::get_group};
#if defined(TERN_MANY_TARGETS)
  if (level >= TERN_LEVEL_AVX2) entry_points = {avx2::get, avx2::get_token, avx2::prepare, avx2::get_group};
  if (level >= TERN_LEVEL_AVX512) entry_points = {avx512::get, avx512::get_token, avx512::prepare, avx512::get_group};
#else
  (void)level;
#endif
}

int best_reads() noexcept {
#if defined(TERN_MANY_TARGETS)
  return simd::best_level();
#else
  return TERN_LEVEL_BASE;
#endif
}

Lookup<std::size_t> get(Context c, std::string_view key, char* out, std::size_t out_size) noexcept {
  return std::bit_cast<Lookup<std::size_t>>(entry_points.get(c, key, out, out_size));
}

Token prefetch(Context c, std::string_view key) noexcept {
  Token token;
  token.key_ = key;
  token.hash_ = entry_points.prepare(c, key);
  return token;
}

Lookup<std::size_t> get(Context c, const Token& token, char* out, std::size_t out_size) noexcept {
  return std::bit_cast<Lookup<std::size_t>>(entry_points.get_token(c, token.key(), token.hash(), out, out_size));
}

Result<void> get_many(Context c, std::span<const std::string_view> keys, char* out, std::size_t stride,
                      std::span<Lookup<std::size_t>> answers) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  if (const Error e = Call::count_error(keys.size(), kKeysPerCallMax, answers.size()); e.status != Status::kOk) {
    return e;
  }
  if (out == nullptr && stride != 0 && !keys.empty()) return {Status::kInvalidArgument, Field::kStride};
  if (StoredKeys::are_needed(c, keys)) [[unlikely]] {
    StoredKeys stored;
    if (!stored.assign(c, keys)) return Status::kOutOfMemory;
    return get_many(with_stored_key(c), stored.keys(), out, stride, answers);
  }
  for (std::size_t first = 0; first < keys.size(); first += kGroupKeys) {
    const auto count = static_cast<unsigned>(std::min<std::size_t>(kGroupKeys, keys.size() - first));
    entry_points.get_group(call.store(), call.thread(), keys.data() + first, count, out + first * stride, stride,
                      answers.data() + first);
  }
  return {};
}

}  // namespace tern::detail
