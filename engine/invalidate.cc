// clear, del_prefix, del_tag and what they have removed: arguments are checked here, and nowhere below.
#include <tern/operations.h>

#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern::detail {

namespace {

Result<std::uint64_t> invalidate(const Call& call, const PointScope& scope) noexcept {
  std::uint64_t stamp = 0;
  const bool made = call.core().invalidate(call.thread(), scope, stamp);
  if (!made) call.thread().counters.refused.add();
  call.core().hand_out_removals(call.thread());
  call.core().space.upkeep.pass_on();
  if (!made) return Status::kOutOfMemory;
  return stamp + 1;
}

}  // namespace

Result<std::uint64_t> clear(Context c) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  return invalidate(call, {PointScope::Kind::kStore, {}, name_of(c)});
}

Result<std::uint64_t> del_prefix(Context c, std::string_view prefix) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  if (prefix.size() > kKeyBytesMax) return {Status::kTooLarge, Field::kKey};
  if (prefix.empty()) return invalidate(call, {PointScope::Kind::kStore, {}, name_of(c)});
  StoredBound stored;
  if (!stored.assign(c, prefix)) return Status::kOutOfMemory;
  return invalidate(call, {PointScope::Kind::kPrefix, stored.view()});
}

Result<std::uint64_t> del_tag(Context c, std::string_view tag) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  if (tag.empty() || tag.size() > TagBlock::kTagBytesMax) return {Status::kInvalidArgument, Field::kTags};
  return invalidate(call, {PointScope::Kind::kTag, tag, name_of(c)});
}

Lookup<Invalidated> invalidated(Context c, std::uint64_t id) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  Invalidated out;
  if (id == 0 || !call.core().space.points.find_tally(id - 1, out.entries, out.done)) return Status::kNotFound;
  return out;
}

}  // namespace tern::detail
