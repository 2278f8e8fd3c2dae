#include "bench/views.h"

#include <tern/store.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "bench/workload.h"

namespace tern::bench {
namespace {

constexpr unsigned kManyViews = 8;

class ViewsSuite {
 public:
  ViewsSuite(const BenchOptions& options, Results& results)
      : options_(options), results_(results), count_(options.entries.empty() ? 1'000'000 : options.entries.front()) {}

  void run() {
    Options o;
    // Every key may be there twice and more, so that nothing but the views themselves is measured.
    o.memory_bytes = std::max<std::size_t>(count_ * 160 * (kManyViews / 2 + 1), std::size_t{64} << 20);
    o.view_bytes_max = o.memory_bytes;
    o.entries_expected = count_;
    o.eviction = false;
    o.maintenance = Maintenance::kTick;  // what is measured is this thread's
    o.huge_pages = options_.huge_pages;
    Result<Store> store = Store::open(o);
    if (!store) return results_.errors.push_back("views: the store can't be opened");
    store_ = std::move(*store);
    for (std::uint64_t i = 0; i != count_; ++i) require(store_.set(key(i), kValue).ok(), "views: a set of the fill was refused");
    open_and_close();
    writes();
    walk();
    removals();
    store_ = Store();
    stamps();
  }

 private:
  static constexpr std::string_view kValue = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

  std::string_view key(std::uint64_t i) {
    const int n = std::snprintf(key_, sizeof key_, "account:%012llu", static_cast<unsigned long long>(i));
    return {key_, static_cast<std::size_t>(n)};
  }
  void require(bool ok, const char* what) {
    if (!ok && (results_.errors.empty() || results_.errors.back() != what)) results_.errors.push_back(what);
  }
  void open_and_close() {
    constexpr unsigned kCalls = 20'000;
    std::vector<double> alone, beside;
    for (unsigned r = 0; r != options_.repeats; ++r) {
      for (const bool others : {false, true}) {
        std::vector<View> open = views(others ? kManyViews : 0);
        const double from = thread_cpu_seconds();
        for (unsigned i = 0; i != kCalls; ++i) {
          Result<View> view = store_.view();
          require(view.ok(), "views: a view was refused");
        }
        (others ? beside : alone).push_back((thread_cpu_seconds() - from) / kCalls * 1e6);
      }
    }
    results_.add_target("view-open", spread(alone), "us", "open and close", 1, true);
    results_.add_target("view-open-beside-8", spread(beside), "us", "open and close, eight others open", 0, true);
  }

  std::vector<View> views(unsigned count) {
    std::vector<View> open;
    for (unsigned i = 0; i != count; ++i) {
      Result<View> view = store_.view();
      require(view.ok(), "views: a view was refused");
      if (view) open.push_back(std::move(*view));
    }
    return open;
  }
  void settle() {
    while (store_.stats().kept_versions != 0) require(store_.tick(std::chrono::milliseconds(1)).ok(), "views: tick");
  }
  // Million sets a second of CPU time.
  double sets(std::uint64_t calls) {
    const double from = thread_cpu_seconds();
    bool ok = true;
    for (std::uint64_t i = 0; i != calls; ++i) ok = store_.set(key(random_.below(count_)), kValue).ok() && ok;
    require(ok, "views: a set was refused");
    return static_cast<double>(calls) / (thread_cpu_seconds() - from) / 1e6;
  }

  // Fresh: the view was opened just before, so that most sets are the first of their key under it and keep the old version.
  // Old: every key has its old version already. Each with the same number of sets without a view just before.
  void writes() {
    struct Kind {
      const char* id;
      const char* against;
      unsigned views;
      bool old;
      double floor;
      std::vector<double> ratios{};
    };
    Kind kinds[] = {
        {"write-with-view", "sets without a view; opened before each repeat", 1, false, 0.75},
        {"write-with-old-view", "sets without a view; every key was written under it", 1, true, 0},
        {"write-with-8-views", "sets without a view; opened before each repeat", kManyViews, false, 0},
        {"write-with-8-old-views", "sets without a view; every key was written under the youngest", kManyViews, true, 0},
    };
    const std::uint64_t calls = count_ / 2;
    sets(calls);
    for (unsigned r = 0; r != options_.repeats; ++r) {
      for (Kind& kind : kinds) {
        settle();
        const double before = sets(calls);
        std::vector<View> open = views(kind.views);
        if (kind.old) {
          for (std::uint64_t i = 0; i != count_; ++i) require(store_.set(key(i), kValue).ok(), "views: a set was refused");
        }
        const double with = sets(calls);
        for (const View& view : open) require(view.is_open(), "views: a view was ended");
        open.clear();
        settle();
        const double after = sets(calls);
        kind.ratios.push_back(with / ((before + after) / 2));
      }
    }
    for (const Kind& kind : kinds) results_.add_target(kind.id, spread(kind.ratios), "ratio", kind.against, kind.floor, false);
  }

  void walk() {
    std::vector<double> ns;
    for (unsigned r = 0; r != options_.repeats; ++r) {
      Result<View> view = store_.view();
      require(view.ok(), "views: a view was refused");
      std::uint64_t seen = 0;
      const double from = thread_cpu_seconds();
      const Result<bool> all = view->for_each([&](std::string_view, std::string_view value) {
        seen += value.size() == kValue.size();
        return true;
      });
      ns.push_back((thread_cpu_seconds() - from) / static_cast<double>(count_) * 1e9);
      require(all.ok() && seen == count_, "views: a walk missed keys");
    }
    results_.add_target("view-walk", spread(ns), "ns", "an entry of for_each", 0, true);
  }

  // All keys of a prefix gone: by an invalidation and all of its sweep, and by a view's walk whose keys are deleted one by
  // one. Beside them half as many that stay.
  void removals() {
    std::vector<double> call, ratios, per_key;
    const std::uint64_t others = count_ / 2;
    const auto other = [&](std::uint64_t i) {
      const int n = std::snprintf(key_, sizeof key_, "session:%012llu", static_cast<unsigned long long>(i));
      return std::string_view(key_, static_cast<std::size_t>(n));
    };
    for (std::uint64_t i = 0; i != others; ++i) require(store_.set(other(i), kValue).ok(), "views: a set was refused");
    for (unsigned r = 0; r != options_.repeats; ++r) {
      double seconds[2] = {};
      for (const bool by_scan : {false, true}) {
        for (std::uint64_t i = 0; i != count_; ++i) require(store_.set(key(i), kValue).ok(), "views: a set was refused");
        settle();
        double from = thread_cpu_seconds();
        if (by_scan) {
          Result<View> view = store_.view();
          std::vector<std::string> found;
          require(view->for_each([&](std::string_view k, std::string_view) {
            if (k.starts_with("account:")) found.emplace_back(k);
            return true;
          }).ok(), "views: a walk failed");
          view->close();
          for (const std::string& k : found) require(store_.del(k).ok(), "views: a del was refused");
          seconds[1] = thread_cpu_seconds() - from;
        } else {
          const Result<std::uint64_t> id = store_.del_prefix("account:");
          require(id.ok(), "views: del_prefix was refused");
          call.push_back((thread_cpu_seconds() - from) * 1e6);
          while (store_.stats().owed.invalidations != 0) require(store_.tick(std::chrono::milliseconds(10)).ok(), "views: tick");
          seconds[0] = thread_cpu_seconds() - from;
          per_key.push_back(seconds[0] / static_cast<double>(count_) * 1e9);
          require(store_.invalidated(*id)->entries == count_, "views: del_prefix removed another number of keys");
        }
        require(store_.stats().entries == others, "views: keys are left");
      }
      ratios.push_back(seconds[1] / seconds[0]);
    }
    results_.add_target("del-prefix-call", spread(call), "us", "the call, after which none is read", 0, true);
    results_.add_target("del-prefix-sweep", spread(per_key), "ns", "call and sweep, for each key that goes", 0, true);
    results_.add_target("del-prefix-vs-scan", spread(ratios), "ratio", "a view's walk that deletes one by one", 0, false);
  }

  // By a program of its own, which has the engine twice (stamp_cost.cc).
  void stamps() {
    std::error_code none;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", none);
    const std::string command = (self.parent_path() / "tern-stamp-cost").string() + " " + std::to_string(count_) + " " +
                                std::to_string(options_.repeats);
    std::vector<double> ratios;
    if (FILE* program = popen(command.c_str(), "r")) {
      double ratio;
      while (std::fscanf(program, "%lf", &ratio) == 1) ratios.push_back(ratio);
      if (pclose(program) != 0) ratios.clear();
    }
    require(ratios.size() == options_.repeats, "views: tern-stamp-cost, which lies beside tern, failed");
    if (ratios.empty()) return;
    results_.add_target("write-without-view", spread(ratios), "ratio", "sets of the same engine without stamps", 0.93, false);
  }

  const BenchOptions& options_;
  Results& results_;
  std::uint64_t count_;
  Random random_{1};
  Store store_;
  char key_[32];
};

}  // namespace

void run_views(const BenchOptions& options, Results& results) { ViewsSuite(options, results).run(); }

}  // namespace tern::bench
