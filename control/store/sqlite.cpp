// Implements the store on SQLite: schema, commits, snapshots.
#include "control/store/sqlite.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "control/sqlite/sqlite_handle.h"

namespace dr::control {
namespace {

using sqlite::Connection;
using sqlite::ResetOnExit;
using sqlite::Statement;

constexpr int kSchemaVersion = 2;
constexpr std::array<const char*, kKinds> kTable{"pools", "policies", "subscribers"};
constexpr const char* kSchema = R"sql(
BEGIN;
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE pools(id INTEGER PRIMARY KEY, object BLOB NOT NULL);
CREATE TABLE policies(id INTEGER PRIMARY KEY, object BLOB NOT NULL);
CREATE TABLE subscribers(id INTEGER PRIMARY KEY, object BLOB NOT NULL);
CREATE TABLE freed_slots(slot INTEGER PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE secrets(id INTEGER PRIMARY KEY, object BLOB NOT NULL);
PRAGMA user_version = 2;
COMMIT;
)sql";
constexpr const char* kFromVersion1 = R"sql(
BEGIN;
CREATE TABLE secrets(id INTEGER PRIMARY KEY, object BLOB NOT NULL);
PRAGMA user_version = 2;
COMMIT;
)sql";

std::size_t number(Kind kind) {
    return static_cast<std::size_t>(kind);
}

constexpr const char* kReadSecrets = "SELECT object FROM secrets WHERE id = ?1";

class SqliteSnapshot final : public Snapshot {
  public:
    explicit SqliteSnapshot(const std::string& path) : db_("store", path, SQLITE_OPEN_READONLY) {
        db_.run("BEGIN");
        // A snapshot begins with the first read, not with BEGIN.
        Statement(db_, "SELECT count(*) FROM meta").step();
    }
    void for_each_after(Kind kind, std::uint32_t id, const Visitor& visit) override {
        Statement rows(db_, fmt::format("SELECT id, object FROM {} WHERE id > ?1 ORDER BY id",
                                        kTable[number(kind)]));
        rows.bind(1, std::int64_t{id});
        while (rows.step())
            if (!visit(static_cast<std::uint32_t>(rows.integer(0)), rows.bytes(1))) return;
    }
    std::optional<std::string> secrets(std::uint32_t id) override {
        if (!secrets_) secrets_.emplace(db_, kReadSecrets);
        const ResetOnExit reset(*secrets_);
        if (!secrets_->bind(1, std::int64_t{id}).step()) return std::nullopt;
        return std::string(secrets_->bytes(0));
    }

  private:
    Connection db_;
    std::optional<Statement> secrets_;
};

// The lock file; the lock ends with the process, however it ends.
class Lock {
  public:
    explicit Lock(const std::string& path)
        : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)) {
        if (fd_ < 0) throw StoreError(fmt::format("store lock {}: {}", path, std::strerror(errno)));
        if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
            ::close(fd_);
            throw StoreError(fmt::format("store lock {}: held by another drd", path));
        }
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() { ::close(fd_); }

  private:
    int fd_;
};

class SqliteStore final : public Store {
  public:
    explicit SqliteStore(const std::string& path)
        : path_(path),
          lock_(path + ".lock"),
          writer_("store", path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) {
        prepare_file();
        reader_.emplace("store", path, SQLITE_OPEN_READONLY);
        for (std::size_t k = 0; k < kKinds; ++k) {
            put_[k].emplace(writer_, fmt::format("INSERT INTO {}(id, object) VALUES(?1, ?2) ON "
                                                 "CONFLICT(id) DO UPDATE SET object = ?2",
                                                 kTable[k]));
            erase_[k].emplace(writer_, fmt::format("DELETE FROM {} WHERE id = ?1", kTable[k]));
            read_[k].emplace(*reader_,
                             fmt::format("SELECT object FROM {} WHERE id = ?1", kTable[k]));
        }
        put_secrets_.emplace(writer_, "INSERT OR REPLACE INTO secrets(id, object) VALUES(?1, ?2)");
        erase_secrets_.emplace(writer_, "DELETE FROM secrets WHERE id = ?1");
        read_secrets_.emplace(*reader_, kReadSecrets);
        put_meta_.emplace(writer_, "INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)");
        free_.emplace(writer_, "INSERT OR REPLACE INTO freed_slots(slot, id) VALUES(?1, ?2)");
        take_.emplace(writer_, "DELETE FROM freed_slots WHERE slot = ?1");
        load_meta();
    }

    [[nodiscard]] const Meta& meta() const override { return meta_; }

    std::vector<std::uint32_t> freed_tunnel_ids() override {
        std::vector<std::uint32_t> ids;
        Statement rows(writer_, "SELECT id FROM freed_slots ORDER BY slot");
        while (rows.step()) ids.push_back(static_cast<std::uint32_t>(rows.integer(0)));
        return ids;
    }

    void commit(const Batch& batch) override {
        writer_.run("BEGIN IMMEDIATE");
        try {
            write(batch);
            writer_.run("COMMIT");
        } catch (...) {
            if (writer_.in_transaction())
                sqlite3_exec(writer_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
            throw;
        }
        meta_ = batch.meta;
    }

    std::optional<std::string> read(Kind kind, std::uint32_t id) override {
        const std::lock_guard guard(read_mutex_);
        Statement& statement = *read_[number(kind)];
        const ResetOnExit reset(statement);
        if (!statement.bind(1, std::int64_t{id}).step()) return std::nullopt;
        return std::string(statement.bytes(0));
    }

    std::optional<std::string> read_secrets(std::uint32_t id) override {
        const std::lock_guard guard(read_mutex_);
        const ResetOnExit reset(*read_secrets_);
        if (!read_secrets_->bind(1, std::int64_t{id}).step()) return std::nullopt;
        return std::string(read_secrets_->bytes(0));
    }

    std::unique_ptr<Snapshot> snapshot() override {
        return std::make_unique<SqliteSnapshot>(path_);
    }

  private:
    void prepare_file() {
        writer_.run("PRAGMA journal_mode = WAL");
        writer_.run("PRAGMA synchronous = FULL");
        // Shrinks the log again after a long reader has let it grow.
        writer_.run("PRAGMA journal_size_limit = 16777216");
        Statement version(writer_, "PRAGMA user_version");
        version.step();
        const std::int64_t found = version.integer(0);
        version.reset();
        if (found == 0) {
            writer_.run(kSchema);
        } else if (found == 1) {
            writer_.run(kFromVersion1);
        } else if (found != kSchemaVersion) {
            throw StoreError(fmt::format(
                "store {}: schema version {}, but this drd knows version {}: use a newer drd",
                path_, found, kSchemaVersion));
        }
    }

    void load_meta() {
        Statement rows(writer_, "SELECT key, value FROM meta");
        while (rows.step()) {
            const std::string_view key = rows.bytes(0);
            if (key == "revision") meta_.revision = rows.integer(1);
            if (key == "next_id") meta_.next_id = static_cast<std::uint32_t>(rows.integer(1));
            if (key == "tunnel_capacity")
                meta_.tunnel_capacity = static_cast<std::uint32_t>(rows.integer(1));
            if (key == "drain") meta_.drain = rows.integer(1) != 0;
            if (key == "synced_uuid") meta_.synced_uuid = std::string(rows.bytes(1));
        }
    }

    void write(const Batch& batch) {
        for (const auto& w : batch.writes) {
            if (w.object)
                put_[number(w.kind)]->bind(1, std::int64_t{w.id}).bind_blob(2, *w.object).run();
            else
                erase_[number(w.kind)]->bind(1, std::int64_t{w.id}).run();
            if (!w.object && w.kind == Kind::Subscriber)
                erase_secrets_->bind(1, std::int64_t{w.id}).run();
        }
        for (const auto& secret : batch.secrets)
            put_secrets_->bind(1, std::int64_t{secret.id}).bind_blob(2, secret.bytes).run();
        for (const std::uint32_t id : batch.taken)
            take_->bind(1, std::int64_t{id & 0xffffff}).run();
        for (const std::uint32_t id : batch.freed)
            free_->bind(1, std::int64_t{id & 0xffffff}).bind(2, std::int64_t{id}).run();
        put_number("revision", batch.meta.revision);
        put_number("next_id", batch.meta.next_id);
        if (batch.meta.drain != meta_.drain) put_number("drain", batch.meta.drain ? 1 : 0);
        if (batch.meta.tunnel_capacity != meta_.tunnel_capacity)
            put_number("tunnel_capacity", batch.meta.tunnel_capacity);
        if (batch.meta.synced_uuid != meta_.synced_uuid)
            put_meta_->bind(1, "synced_uuid").bind(2, batch.meta.synced_uuid).run();
    }
    void put_number(std::string_view key, std::int64_t value) {
        put_meta_->bind(1, key).bind(2, value).run();
    }

    std::string path_;
    Lock lock_;
    Connection writer_;
    std::optional<Connection> reader_;
    std::array<std::optional<Statement>, kKinds> put_;
    std::array<std::optional<Statement>, kKinds> erase_;
    std::array<std::optional<Statement>, kKinds> read_;
    std::optional<Statement> put_secrets_;
    std::optional<Statement> erase_secrets_;
    std::optional<Statement> read_secrets_;
    std::optional<Statement> put_meta_;
    std::optional<Statement> free_;
    std::optional<Statement> take_;
    std::mutex read_mutex_;
    Meta meta_;
};

}  // namespace

std::unique_ptr<Store> open_sqlite_store(const std::string& path) {
    return std::make_unique<SqliteStore>(path);
}

}  // namespace dr::control
