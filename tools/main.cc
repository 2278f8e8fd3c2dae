// The program `tern`: demo, snapshot, bench, replay. The only file that includes CLI11, which takes seconds
// to compile.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "bench/options.h"
#include "tools/demo.h"
#include "tools/snapshot.h"

namespace {

using tern::bench::BenchOptions;
using tern::bench::ReplayOptions;

// "1,2,4" or several words.
template <class T>
void list(CLI::App* app, const char* name, std::vector<T>& into, const char* what) {
  app->add_option(name, into, what)->delimiter(',');
}

CLI::Validator is_picture() {
  return {[](const std::string& file) { return file.ends_with(".svg") || file.ends_with(".png") ? "" : "is neither .svg nor .png: " + file; }, "FILE"};
}

// Before what reads a number without a sign: it would make a large one of it.
CLI::Validator has_no_sign() {
  return {[](const std::string& number) { return number.starts_with('-') || number.starts_with('+') ? "is no number from 0 on: " + number : ""; }, ""};
}
void memory_option(CLI::App* app, std::uint64_t& bytes, const char* what) {
  app->add_option("--memory-bytes", bytes, what)->transform(CLI::AsSizeValue(false))->transform(has_no_sign());
}
// Of what is no command, the word is named; without one, that there must be one.
void require_command(CLI::App* app) {
  app->require_subcommand(0, 1);
  app->final_callback([app] {
    if (app->get_subcommands().empty()) throw CLI::RequiredError::Subcommand(1);
  });
}

void bench_options(CLI::App* app, BenchOptions& o) {
  app->add_option(
      "--suite", o.suite,
      "core: the rows and floors of a release; bounds: expiry, tick, the slowest calls of a full "
      "store; views: what views cost; order: scans and what the index costs (a part of views); bus: what watches cost; snapshot: saving and opening; seeds: the figures of the seed documents");
  list(app, "--entries", o.entries,
       "keys in each store (1000000; the core suite: 1000000,10000000)");
  list(app, "--workloads", o.workloads,
       "fill, get-uniform, get-zipf, get-latest, get-miss, ycsb-a, -b, -c, -d, -f (all)");
  list(app, "--stores", o.stores,
       "tern, tbb, libcuckoo, abseil64, unordered, libcds (all that are here)");
  list(app, "--threads", o.threads, "numbers of pinned threads (1, 2, 4, ... all processors)");
  list(app, "--batch", o.batches, "keys a call; more than 1 is for Tern alone (1,64)");
  app->add_option("--key-bytes", o.key_bytes,
                  "64, 16-24, or ranges with weights: 16-24:0.9,100-200:0.1")
      ->capture_default_str();
  app->add_option("--value-bytes", o.value_bytes, "as --key-bytes, at least 8")
      ->capture_default_str();
  app->add_option("--seconds", o.seconds, "of each slice")->capture_default_str();
  app->add_option("--warm-up", o.warm_up_seconds, "seconds before each slice")
      ->capture_default_str();
  app->add_option("--repeats", o.repeats, "rounds over all stores; medians are taken over them")
      ->capture_default_str();
  app->add_option("--seed", o.seed, "of keys drawn")->check(has_no_sign())->capture_default_str();
  memory_option(app, o.memory_bytes, "Tern's budget (from the sizes)");
  app->add_flag("!--no-huge-pages", o.huge_pages,
                "refuse transparent huge pages to every store alike");
  app->add_option("--cachebench", o.cachebench,
                  "a configuration file of CacheBench instead of --workloads");
  app->add_option("--folder", o.folder, "where the snapshot suite makes its files (the current one)")->check(CLI::ExistingDirectory);
  app->add_flag("--check", o.check, "exit with 1 when a floor is missed");
  app->add_option("--json", o.json, "write everything to FILE (-: standard output)");
  app->add_option("--csv", o.csv, "write the rows to FILE");
  app->add_option("--hgrm", o.hgrm, "write percentiles of each row to PREFIX....hgrm");
  app->add_option("--plot", o.plot, "draw the rows with gnuplot into FILE.svg or FILE.png")->check(is_picture());
}

void replay_options(CLI::App* app, ReplayOptions& o) {
  app->add_option("files", o.files,
                  "traces: .csv, .csv.zst (key,size), .oracleGeneral, .oracleGeneral.zst");
  app->add_option("--traces", o.directory, "every compressed trace of a folder");
  app->add_option("--format", o.format, "csv or oracle, where the name doesn't tell");
  app->add_option("--synthetic", o.synthetic,
                  "a made trace: uniform, zipf, loop, scan, shift or sized, as "
                  "zipf:objects=10000,requests=1000000,theta=0.9");
  list(app, "--memory,--memory-bytes", o.memory,
       "the store's budget, as 256M or 10% of what all objects need; several: a run each (1G)");
  list(app, "--objects,--entries-max", o.objects,
       "bound on entries, as 1000 or 10% of all objects, which count as 8 bytes each then; "
       "several: a "
       "run each");
  app->add_flag("--unit-sizes", o.unit_sizes, "every object counts as one of 8 bytes");
  app->add_flag("--size-aware", o.size_aware, "the store decides by size, too (Options::size_aware)");
  app->add_option("--threads", o.threads, "pinned threads")->capture_default_str();
  app->add_option("--requests", o.requests_max, "only the first N requests (0: all)")
      ->check(has_no_sign())
      ->capture_default_str();
  app->add_flag(
      "--policies", o.policies,
      "beside the store: LRU, SIEVE, S3-FIFO, ARC, W-TinyLFU, Tern's policy and the optimum, "
      "simulated");
  app->add_option("--cells", o.cells,
                  "a table trace,cache_objects,LRU,...,OPT of published hit ratios: each of its rows through the store, "
                  "beside them; traces from --traces, or from its folder");
  app->add_option("--json", o.json,
                  "one object a run to FILE (-: standard output, nothing else then)");
  app->add_option("--csv", o.csv, "write the hit ratios to FILE");
  app->add_option("--plot", o.plot,
                  "draw hit ratio against size as FILE (.svg or .png) with gnuplot")
      ->check(is_picture());
}

// One of the commands on snapshot files; which, `run` says.
void snapshot_options(CLI::App* app, tern::tools::SnapshotCommand& c, int (*&run)(const tern::tools::SnapshotCommand&)) {
  namespace tools = tern::tools;
  require_command(app);
  const auto add = [&](const char* name, const char* what, int (*command)(const tools::SnapshotCommand&)) {
    CLI::App* const sub = app->add_subcommand(name, what);
    sub->add_option("snapshot", c.snapshot, "the snapshot file")->required();
    sub->callback([&run, command] { run = command; });
    return sub;
  };
  add("inspect", "what the file says about itself, and the generations before it", tools::inspect_snapshot_file);
  add("verify", "looks at every byte; exit code 1 if one isn't as it was written", tools::verify_snapshot_file);
  add("dump", "its entries, for people", tools::dump_snapshot_file)->add_option("--limit", c.limit, "only so many (0: all)")->check(has_no_sign());
  CLI::App* const out = add(
      "export", "its entries as text, in the order of their keys; not its locks and leases: an entry of a lease has that one's deadline there",
      tools::export_snapshot_file);
  CLI::App* const in = add("import", "a snapshot made from text", tools::import_snapshot_file);
  for (CLI::App* const sub : {out, in}) {
    sub->add_option("text", c.text, "the text, a file or a pipe; -: standard output or input (what has no size is read with a budget of 1 GiB)")
        ->capture_default_str();
    sub->add_option("--format", c.form,
                    "ndjson (an object a line), csv, or json (nested objects, whose names make hierarchical keys)")
        ->check(CLI::IsMember({"ndjson", "csv", "json"}))
        ->capture_default_str();
    sub->add_option("--separator", c.separator, "between the names of nested objects")
        ->check(CLI::Validator([](std::string& s) { return s.empty() ? "is empty" : ""; }, "TEXT"))
        ->capture_default_str();
  }
  CLI::App* const convert = add("convert", "the same entries in the format of this version, which older files have not", tools::convert_snapshot_file);
  convert->add_option("to", c.to, "the new file; what is there already stays as the generation before it")->required();
  convert->add_option("--codec", c.codec, "that packs its blocks")->check(CLI::IsMember({"none", "lz4", "zstd"}))->capture_default_str();
  memory_option(convert, c.memory_bytes, "budget of the store it goes through (from the file's size)");
  memory_option(in, c.memory_bytes, "budget of the store it goes through (from the text's size)");
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{
      "Tern, an in-process cache engine: what it does, how fast, and how it serves real traces"};
  require_command(&app);
  CLI::App* const demo = app.add_subcommand("demo", "the operations one by one, each checked");
  tern::tools::SnapshotCommand snapshot_with;
  int (*snapshot_run)(const tern::tools::SnapshotCommand&) = nullptr;
  snapshot_options(app.add_subcommand("snapshot", "snapshot files: looked at, verified, to text and from it"), snapshot_with, snapshot_run);
  BenchOptions bench_with;
  CLI::App* const bench =
      app.add_subcommand("bench", "throughput, latency and memory beside other stores");
  bench_options(bench, bench_with);
  ReplayOptions replay_with;
  CLI::App* const replay = app.add_subcommand("replay", "a cache trace through the store");
  replay_options(replay, replay_with);
  CLI11_PARSE(app, argc, argv);
  bench_with.argv = argv;
  const int code = snapshot_run != nullptr ? snapshot_run(snapshot_with)
                   : *demo                 ? tern::tools::run_demo()
                   : *replay               ? tern::bench::run_replay(replay_with)
                                           : tern::bench::run_bench(bench_with);
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good()) return code;
  std::fputs("tern: standard output can't be written\n", stderr);
  return code != 0 ? code : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "tern: %s\n", e.what());
  return 1;
}
