// Recipe: optimistic concurrency. Read, compute with nothing held for as long as it takes, and write only if nobody has
// written meanwhile; else again from what is there now. A version says it (an "etag"): it grows with each change of the key,
// removals included, so a value that went and came back isn't taken for the old one.
//
//   edit(store, "account:7", [](std::optional<std::string_view> now) { return std::optional(add(now.value_or("0"), 5)); });
//   edit_together(store, {"a", "b"}, [](std::vector<Seen>& all) { return move_money(all[0], all[1]); });
//
// Or in two calls, with a user's form between: Seen s = look(store, key); ...; write_if_unchanged(store, key, s, value).
// Where the new value comes of the old one in an instant, Store::update does the same in one call.
#ifndef TERN_TESTS_RECIPES_OPTIMISTIC_H_
#define TERN_TESTS_RECIPES_OPTIMISTIC_H_

#include <tern/store.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tern::recipes {

// What a key had, and as which version; 0: it was absent.
struct Seen {
  std::optional<std::string> value;
  std::uint64_t version = 0;
};

inline Result<Seen> look(const Store& store, std::string_view key) {
  const Lookup<Entry> entry = store.get_entry(key);
  if (entry) return Result<Seen>(Seen{std::string(entry->value.view()), entry->version});
  if (entry.missing()) return Result<Seen>(Seen{});
  return entry.error();
}

// mismatch or exists: somebody was faster, and nothing was changed. Keeps the lifetime that the key has.
inline Result<std::uint64_t> write_if_unchanged(const Store& store, std::string_view key, const Seen& seen, std::string_view value) {
  SetOptions how;
  if (seen.version != 0) {
    how.if_version = seen.version;
    how.keep_ttl = true;
  } else {
    how.if_absent = true;
  }
  return store.set(key, value, how);
}

inline constexpr unsigned kTurnsMax = 1'000;  // somebody has changed the key in each: not a hot path any more

// fn(std::optional<std::string_view> now) -> std::optional<std::string>: the new value; nothing: leave it. Called again
// for each time that somebody was faster. Answers the version that the key has then; conflict: kTurnsMax times.
template <class Fn>
Result<std::uint64_t> edit(const Store& store, std::string_view key, Fn&& fn) {
  for (unsigned turn = 0; turn != kTurnsMax; ++turn) {
    const Result<Seen> seen = look(store, key);
    if (!seen) return seen.error();
    const auto now = seen->value ? std::optional<std::string_view>(*seen->value) : std::nullopt;
    const std::optional<std::string> then = fn(now);
    if (!then) return seen->version;
    const Result<std::uint64_t> written = write_if_unchanged(store, key, *seen, *then);
    if (written.status() != Status::kMismatch && written.status() != Status::kExists) return written;
  }
  return Status::kConflict;
}

// The same of several keys at once: fn(std::vector<Seen>& all) changes the values, an empty one removes its key; false: leave
// them. All are written at one moment, or none. What fn sees may be of several moments: then it is called again.
template <class Fn>
Result<void> edit_together(const Store& store, const std::vector<std::string>& keys, Fn&& fn) {
  for (unsigned turn = 0; turn != kTurnsMax; ++turn) {
    std::vector<Seen> all;
    for (const std::string& key : keys) {
      Result<Seen> seen = look(store, key);
      if (!seen) return seen.error();
      all.push_back(std::move(*seen));
    }
    if (!fn(all)) return {};
    WriteBatch batch;
    for (std::size_t i = 0; i != keys.size(); ++i) {
      if (all[i].version != 0) {
        batch.require_version(keys[i], all[i].version);
      } else {
        batch.require_absent(keys[i]);
      }
      if (!all[i].value) {
        batch.del(keys[i]);
      } else if (all[i].version != 0) {
        SetOptions how;
        how.keep_ttl = true;
        batch.set(keys[i], *all[i].value, how);
      } else {
        batch.set(keys[i], *all[i].value);
      }
    }
    const Result<void> written = store.write(batch);
    if (written.status() != Status::kConflict) return written;
  }
  return Status::kConflict;
}

}  // namespace tern::recipes

#endif  // TERN_TESTS_RECIPES_OPTIMISTIC_H_
