#include "persist/placing.h"

#include <cstdio>

namespace tern::persist {

void tell_left_out(const detail::StoreCore& store, std::uint64_t entries) noexcept {
  if (entries == 0) return;
  char text[160];
  std::snprintf(text, sizeof text, "snapshot: %llu entries were left out: memory_bytes or entries_max is less than it needs",
                static_cast<unsigned long long>(entries));
  store.log(text);
}

Error Placing::place_block(Thr& t, unsigned shard, std::uint64_t block, const BlockBuffer& buffer, Others others,
                           Trouble& trouble) noexcept {
  auto& core = store_.core;
  detail::Intake<detail::StdSync> intake(core);
  using Outcome = detail::Intake<detail::StdSync>::Outcome;
  return reader_.for_each_record(
      block, shard, buffer, core.space.geometry.hash_keys, trouble, [&](const FileRecord& r, std::uint64_t hash) noexcept -> Error {
        if (r.has_deadline && r.deadline_wall_ms <= opened_.wall_ms) {
          ++expired;
          return {};
        }
        if (r.value.size() > store_.value_bytes_max) {
          return trouble.refused(reader_.name(), {Status::kOutOfRange, Field::kValueBytesMax}, "a value is longer than value_bytes_max");
        }
        std::uint64_t deadline_ms = r.has_deadline ? r.deadline_wall_ms - opened_.wall_ms + opened_.store_ms : 0;
        if (deadline_ms >= detail::Deadline::kNever) deadline_ms = detail::Deadline::kNever - 1;
        const detail::TakenIn in{r.key, r.value, r.version, r.has_deadline, deadline_ms, r.span, r.access, r.type, r.keep, r.tags};
        Outcome outcome = Outcome::kNoMemory;
        if (intake.has_room()) outcome = others == Others::kNone ? intake.place(t, hash, in) : intake.place_beside_others(t, hash, in);
        switch (outcome) {
          case Outcome::kPlaced: ++placed; return {};
          case Outcome::kTwice:
            if (others == Others::kInside) return {};
            return reader_.damaged(block, trouble, "a key is there twice");
          case Outcome::kNoMemory:
          case Outcome::kFull: break;
        }
        if (core.evicts) {
          ++left_out;
          return {};
        }
        if (others == Others::kInside) {
          return trouble.refused(reader_.name(), {Status::kOutOfMemory, Field::kNone}, "no room for an entry of the snapshot");
        }
        if (outcome == Outcome::kFull) {
          return trouble.refused(reader_.name(), {Status::kOutOfRange, Field::kEntriesMax}, "it has more entries than entries_max");
        }
        return trouble.refused(reader_.name(), {Status::kOutOfRange, Field::kMemoryBytes}, "its contents don't fit into memory_bytes");
      });
}

}  // namespace tern::persist
