// Namespace: keys of one's own in a store that others share.
//
//   auto users = store.ns("users", {.separator = '/', .share_percent = 25});
//   users->set("17/name", "ada");                  // nothing to do with the store's own "17/name"
//   users->iterate("17/", [](std::string_view key, std::string_view value) { ...; return true; });
//   users->clear();
//
//   tern::WriteBatch batch;                        // at one moment, whatever namespaces it is about (batch.h)
//   batch.in(*users).set("17/name", "ada");
//   batch.in(*orders).del("4711");
//   store.write(batch);
//
// The operations are a store's: operations.h, scan.h, views, watches (watch_set.h and dispatcher.h too), batches, locks. All of them, the store's own too, which is the default
// namespace, know nothing of other namespaces: no get, scan, pattern, view, size, watch, del_tag or clear meets their keys. A
// namespace lives as long as its store, and is in its snapshots. What is one for the whole store: Stats, Options::on_removed
// (told of the default namespace alone), Options::entries_max and weigher, budgets.
//
// Cost: 3 bytes an entry, and about 20 ns a call to put the key together; a key of more than 101 bytes is put together in
// private memory. Each namespace takes two small entries of the store and half a kilobyte outside the budget.
#ifndef TERN_NAMESPACE_H_
#define TERN_NAMESPACE_H_

#include <tern/store.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tern {

inline constexpr unsigned kNamespacesMax = 1'024;
inline constexpr std::size_t kNamespaceNameBytesMax = 63;

// Since the store was opened; exact when nobody writes.
struct NamespaceStats {
  std::uint64_t entries = 0;  // those past their deadline, or cleared, that nobody has removed yet among them
  std::uint64_t bytes = 0;    // of the budget, in whole blocks
  std::uint64_t hits = 0;     // of get, get_entry, get_metadata, visit, hold, exists and get_or_load; calls with many keys aren't counted
  std::uint64_t misses = 0;
  std::uint64_t evicted = 0;
};

// A handle of its store, cheap to copy; usable from any thread.
class TERN_API Namespace : public Operations<Namespace>, public InOrder<Namespace> {
 public:
  Namespace() noexcept = default;  // of a closed store
  Namespace(const Namespace&) noexcept = default;  // moved as it is copied: each is a handle
  Namespace& operator=(const Namespace&) noexcept = default;

  const Store& store() const noexcept { return store_; }
  std::string_view name() const noexcept;
  NamespaceOptions options() const noexcept;
  NamespaceStats stats() const noexcept;
  // Entries in it, those included that stats() includes.
  std::uint64_t size() const noexcept { return stats().entries; }

  // As Store's calls of these names.
  Result<View> view() const noexcept;
  Result<std::uint64_t> del_pattern(const Pattern& pattern) const noexcept;
  Result<std::uint64_t> del_pattern(std::string_view pattern) const noexcept;
  Result<std::uint64_t> del_regex(const Regex& regex) const noexcept;
  Result<std::uint64_t> del_subtree(std::string_view node) const noexcept;
  Result<Watch> watch_key(std::string_view key, const WatchOptions& options = {}) const noexcept {
    return watch(detail::WatchKind::kKey, key, options);
  }
  Result<Watch> watch_prefix(std::string_view prefix, const WatchOptions& options = {}) const noexcept {
    return watch(detail::WatchKind::kPrefix, prefix, options);
  }
  Result<Watch> watch_glob(std::string_view glob, const WatchOptions& options = {}) const noexcept {
    return watch(detail::WatchKind::kGlob, glob, options);
  }
  Result<Watch> watch_regex(std::string_view expression, const WatchOptions& options = {}) const noexcept {
    return watch(detail::WatchKind::kRegex, expression, options);
  }

  // As Store's. A lease is the store's, and may have entries of all its namespaces; a lock's name is this namespace's own (and no
  // path: it is taken as it is), its lease the store's.
  Result<Lease> lease(std::chrono::milliseconds ttl) const noexcept { return store_.lease(ttl); }
  Lease lease_of(LeaseId id) const noexcept { return store_.lease_of(id); }
  Result<Lock> lock(std::string_view name, const LockOptions& options = {}) const noexcept;
  Result<Lock> try_lock(std::string_view name, LockOptions options = {}) const noexcept {
    options.wait = std::chrono::milliseconds(0);
    return lock(name, options);
  }
  Result<void> unlock(std::string_view name, std::uint64_t token) const noexcept;
  Lookup<LockInfo> lock_info(std::string_view name) const noexcept;

  detail::Context context() const noexcept { return context_; }

 private:
  friend class Store;
  friend class InOrder<Namespace>;
  Namespace(const Store& store, const detail::Context& context) noexcept : store_(store), context_(context) {}
  Result<bool> scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept;
  PatternOptions pattern_options(PatternOptions asked) const noexcept;
  Result<Watch> watch(detail::WatchKind kind, std::string_view text, const WatchOptions& options) const noexcept;

  Store store_;
  detail::Context context_;
};

}  // namespace tern

#endif  // TERN_NAMESPACE_H_
