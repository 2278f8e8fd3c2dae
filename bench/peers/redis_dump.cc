#include "bench/peers/redis_dump.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "bench/machine.h"

#if TERN_BENCH_HIREDIS
#include "bench/peers/redis_client.h"
#endif

namespace tern::bench {

#if TERN_BENCH_HIREDIS
namespace {

constexpr timeval kPatience{120, 0};
constexpr double kPatienceSeconds = 600;

Connection connect(const std::string& socket) {
  return connected(redisConnectUnixWithTimeout(socket.c_str(), kPatience), kPatience);
}
bool is_loading(const Reply& r) { return r != nullptr && r->type == REDIS_REPLY_ERROR && std::strncmp(r->str, "LOADING", 7) == 0; }

}  // namespace

RedisDump::RedisDump(std::string folder, std::uint64_t count, const std::function<std::string(std::uint64_t)>& key, std::string_view value)
    : folder_(std::move(folder)), socket_(folder_ + "/redis.sock") {
  if (!start()) return;
  Connection c;
  for (unsigned i = 0; i != 500 && c == nullptr; ++i) {
    c = connect(socket_);
    if (c == nullptr) ::usleep(10'000);
  }
  if (c == nullptr) {
    error_ = "redis-server doesn't answer (apt-get install redis-server)";
    return;
  }
  constexpr std::uint64_t kPipelined = 1'000;
  for (std::uint64_t i = 0; i < count;) {
    const std::uint64_t n = std::min(kPipelined, count - i);
    for (std::uint64_t k = 0; k != n; ++k) {
      const std::string text = key(i + k);
      redisAppendCommand(c.get(), "SET %b %b", text.data(), text.size(), value.data(), value.size());
    }
    for (std::uint64_t k = 0; k != n; ++k) {
      const Reply r = read(*c);
      if (r == nullptr || r->type != REDIS_REPLY_STATUS) {
        error_ = "redis-server refuses a SET of the fill";
        return;
      }
    }
    i += n;
  }
  redisAppendCommand(c.get(), "BGSAVE");
  Reply r = read(*c);
  for (;;) {
    redisAppendCommand(c.get(), "INFO persistence");
    r = read(*c);
    if (r == nullptr || r->type != REDIS_REPLY_STRING) {
      error_ = "redis-server doesn't tell how its save goes";
      return;
    }
    if (std::strstr(r->str, "rdb_bgsave_in_progress:0") != nullptr) break;
    ::usleep(10'000);
  }
  if (std::strstr(r->str, "rdb_last_bgsave_status:ok") == nullptr) error_ = "redis-server's BGSAVE failed";
  c.reset();
  stop();
}

double RedisDump::restart(const std::string& key, std::string_view value) {
  if (!error_.empty()) return 0;
  const double from = wall_seconds();
  if (!start()) return 0;
  while (wall_seconds() - from < kPatienceSeconds) {
    if (const Connection c = connect(socket_)) {
      for (;;) {
        redisAppendCommand(c.get(), "GET %b", key.data(), key.size());
        const Reply r = read(*c);
        if (is_loading(r)) {
          ::usleep(500);
          continue;
        }
        if (r == nullptr || r->type != REDIS_REPLY_STRING || std::string_view(r->str, r->len) != value) break;
        const double seconds = wall_seconds() - from;
        stop();
        return seconds;
      }
      error_ = "redis-server doesn't have what was saved";
      break;
    }
    ::usleep(500);
  }
  if (error_.empty()) error_ = "redis-server didn't come back";
  stop();
  return 0;
}

bool RedisDump::start() {
  ::unlink(socket_.c_str());
  // It goes to its folder while it reads its options, so that a socket of a relative path would be looked for from there.
  const char* arguments[] = {"redis-server", "--port", "0", "--unixsocket", "redis.sock", "--dir", folder_.c_str(),
                             "--dbfilename", "dump.rdb", "--save", "", "--appendonly", "no", "--daemonize", "no", nullptr};
  child_ = spawn_redis(arguments, error_);
  return child_ > 0;
}

#else

RedisDump::RedisDump(std::string, std::uint64_t, const std::function<std::string(std::uint64_t)>&, std::string_view)
    : error_("hiredis is absent: apt-get install libhiredis-dev redis-server") {}
double RedisDump::restart(const std::string&, std::string_view) { return 0; }
bool RedisDump::start() { return false; }

#endif

RedisDump::~RedisDump() { stop(); }

void RedisDump::stop() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  int status;
  ::waitpid(child_, &status, 0);
  child_ = -1;
}

}  // namespace tern::bench
