// What the daemons stand on when root makes files, and when all threads are to give up rights.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "process/all_threads.h"
#include "process/files.h"
#include "process/paths.h"
#include "process/unix_socket.h"

namespace dr::process {
namespace {

namespace fs = std::filesystem;

class Folder {
  public:
    Folder() {
        std::string name = (fs::temp_directory_path() / "dr-process-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string operator/(const std::string& name) const {
        return path_ + "/" + name;
    }

  private:
    std::string path_;
};

mode_t mode_of(const std::string& path) {
    struct stat status {};
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    return status.st_mode;
}

void write(const std::string& path, const std::string& content, mode_t mode) {
    std::ofstream(path) << content;
    REQUIRE(::chmod(path.c_str(), mode) == 0);
}

std::string content_of(const std::string& path) {
    std::ifstream in(path);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

void directory(const std::string& path, mode_t mode) {
    REQUIRE(::mkdir(path.c_str(), 0700) == 0);
    REQUIRE(::chmod(path.c_str(), mode) == 0);
}

class Umask {
  public:
    explicit Umask(mode_t mask) : before_(::umask(mask)) {}
    Umask(const Umask&) = delete;
    Umask& operator=(const Umask&) = delete;
    ~Umask() { ::umask(before_); }

  private:
    mode_t before_;
};

std::string judged(const std::string& path) {
    return who_else_may_change(path, ::geteuid());
}

TEST_CASE("a directory that only its owner and root may write to is nobody else's to change") {
    const Folder f;
    directory(f / "own", 0755);
    fs::create_symlink(f / "own", f / "link");
    CHECK(judged(f / "own").empty());
    CHECK(judged(f / "own/").empty());
    CHECK(judged(f / "link").empty());
    CHECK(judged(f / "own/../own/./").empty());
}

TEST_CASE(
    "a directory that others may write to is named with the remedy, also above, and behind links") {
    const Folder f;
    directory(f / "open", 0777);
    directory(f / "group", 0775);
    directory(f / "open/below", 0700);
    directory(f / "own", 0700);
    fs::create_symlink(f / "open/below", f / "own/link");
    fs::create_symlink("../own/link", f / "own/chain");
    const auto remedy = Catch::Contains("chmod go-w " + f / "open");
    CHECK_THAT(judged(f / "open"), remedy);
    CHECK_THAT(judged(f / "open/below"), remedy);
    CHECK_THAT(judged(f / "own/link"), remedy);
    CHECK_THAT(judged(f / "own/chain"), remedy);
    CHECK_THAT(judged(f / "open/below/.."), remedy);
    CHECK_THAT(judged(f / "group"), Catch::Contains("chmod go-w " + f / "group"));
}

TEST_CASE("a sticky bit keeps what a user has made in an open directory") {
    const Folder f;
    directory(f / "sticky", 01777);
    CHECK(judged(f / "sticky").empty());
}

TEST_CASE("links that lead in a circle are told, and do not hang") {
    const Folder f;
    fs::create_symlink(f / "b", f / "a");
    fs::create_symlink(f / "a", f / "b");
    CHECK_THAT(judged(f / "a"), Catch::Contains("too many symbolic links"));
}

TEST_CASE("another user's directory and link are named with the owner") {
    if (::geteuid() != 0) {
        WARN("skipped: only root can make them");
        return;
    }
    const Folder f;
    directory(f / "theirs", 0755);
    REQUIRE(::chown((f / "theirs").c_str(), 61151, 61151) == 0);
    directory(f / "own", 0755);
    fs::create_symlink(f / "own", f / "link");
    REQUIRE(::lchown((f / "link").c_str(), 61151, 61151) == 0);
    CHECK_THAT(judged(f / "theirs"), Catch::Contains("uid 61151"));
    CHECK_THAT(judged(f / "link"), Catch::Contains("uid 61151"));
    CHECK(who_else_may_change(f / "theirs", 61151).empty());
}

TEST_CASE("a file is replaced as a whole and with its mode, and a link beside it is not followed") {
    const Folder f;
    const Umask wide(0077);
    write(f / "target", "root's", 0600);
    fs::create_symlink(f / "target", f / "file.new");
    std::string why;
    REQUIRE(replace_file(f / "file", "secret", 0644, &why));
    CHECK(content_of(f / "file") == "secret");
    CHECK(mode_of(f / "file") == (S_IFREG | 0644));
    CHECK(content_of(f / "target") == "root's");
    CHECK_FALSE(fs::exists(f / "file.new"));
    CHECK_FALSE(replace_file(f / "nowhere/file", "secret", 0600, &why));
    CHECK_THAT(why, Catch::Contains(f / "nowhere/file.new"));
}

TEST_CASE("a file's mode is narrowed and never widened; a link, a folder and a pipe are refused") {
    const Folder f;
    std::string why;
    CHECK(narrow_file(f / "missing", 0600, &why));
    for (const auto& [before, after] :
         {std::pair<mode_t, mode_t>{0644, 0600}, {0600, 0600}, {0400, 0400}, {04755, 0600}}) {
        write(f / "file", "x", 0600);
        REQUIRE(::chmod((f / "file").c_str(), before) == 0);
        CHECK(narrow_file(f / "file", 0600, &why));
        CHECK(mode_of(f / "file") == (S_IFREG | after));
        fs::remove(f / "file");
    }
    write(f / "target", "x", 0644);
    fs::create_symlink(f / "target", f / "link");
    directory(f / "folder", 0755);
    REQUIRE(::mkfifo((f / "pipe").c_str(), 0644) == 0);
    for (const char* other : {"link", "folder", "pipe"}) {
        CHECK_FALSE(narrow_file(f / other, 0600, &why));
        CHECK_THAT(why, Catch::Contains(f / other));
    }
    CHECK(mode_of(f / "target") == (S_IFREG | 0644));
}

TEST_CASE("what is opened to write is a regular file, and its content stays") {
    const Folder f;
    std::string why;
    write(f / "file", "before", 0644);
    const int fd = open_regular(f / "file", 0600, &why);
    REQUIRE(fd >= 0);
    ::close(fd);
    CHECK(content_of(f / "file") == "before");
    fs::create_symlink(f / "file", f / "link");
    fs::create_symlink(f / "missing", f / "dangling");
    REQUIRE(::mkfifo((f / "pipe").c_str(), 0644) == 0);
    for (const char* other : {"link", "dangling", "pipe", "."}) {
        CHECK(open_regular(f / other, 0600, &why) == -1);
        CHECK_THAT(why, Catch::Contains(f / other));
    }
    CHECK(open_regular("/dev/null", 0600, &why) == -1);
    CHECK_FALSE(fs::exists(f / "missing"));
}

int unix_socket() {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    return fd;
}

TEST_CASE(
    "a socket is bound with its mode whatever the umask, over a dead one and over nothing else") {
    const Folder f;
    const Umask open(0);
    std::string why;
    const int first = unix_socket();
    REQUIRE(bind_socket(first, f / "socket", 0640, &why));
    CHECK(mode_of(f / "socket") == (S_IFSOCK | 0640));
    REQUIRE(::listen(first, 1) == 0);
    const int second = unix_socket();
    CHECK_FALSE(bind_socket(second, f / "socket", 0600, &why));
    CHECK_THAT(why, Catch::Contains("another process listens"));
    ::close(first);
    REQUIRE(bind_socket(second, f / "socket", 0600, &why));
    CHECK(mode_of(f / "socket") == (S_IFSOCK | 0600));
    ::close(second);
    write(f / "file", "x", 0600);
    fs::create_symlink(f / "socket", f / "link");
    const int third = unix_socket();
    for (const char* other : {"file", "link"}) {
        CHECK_FALSE(bind_socket(third, f / other, 0600, &why));
        CHECK_THAT(why, Catch::Contains("no socket"));
        CHECK(fs::exists(f / other));
    }
    directory(f / "open", 0777);
    CHECK_FALSE(bind_socket(third, f / "open/socket", 0600, &why));
    CHECK_THAT(why, Catch::Contains("chmod go-w"));
    CHECK_FALSE(bind_socket(third, f / std::string(200, 'x'), 0600, &why));
    ::close(third);
    CHECK(::umask(0) == 0);
}

// A property that Linux keeps for each thread and that every user may change.
constexpr long kSlack = 123'456;

long slack() {
    return ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
}

TEST_CASE("a call is made in every thread: busy, asleep, and begun meanwhile by others") {
    std::atomic<bool> stop{false};
    std::atomic<int> ready{0};
    std::atomic<int> good{0};
    const auto asleep = [&] {
        ++ready;
        stop.wait(false);
        good += slack() == kSlack ? 1 : 0;
    };
    const auto busy = [&] {
        ++ready;
        while (!stop) {
        }
        good += slack() == kSlack ? 1 : 0;
    };
    const auto parent = [&] {  // its children inherit what it has when they begin
        ++ready;
        while (!stop) std::thread([] {}).join();
        std::thread([&] { good += slack() == kSlack ? 1 : 0; }).join();
    };
    std::vector<std::thread> all;
    for (int i = 0; i < 4; ++i) all.emplace_back(asleep);
    all.emplace_back(busy);
    all.emplace_back(parent);
    while (ready < 6) std::this_thread::yield();
    CHECK(threads().size() >= 7);
    CHECK(call_in_all_threads(SYS_prctl, PR_SET_TIMERSLACK, kSlack, 0, 0, 0, 0) == 0);
    stop = true;
    stop.notify_all();
    for (auto& thread : all) thread.join();
    CHECK(slack() == kSlack);
    CHECK(good == 6);
}

TEST_CASE("a call that fails returns its error") {
    CHECK(call_in_all_threads(SYS_close, -1, 0, 0, 0, 0, 0) == -1);
    CHECK(errno == EBADF);
}

}  // namespace
}  // namespace dr::process
