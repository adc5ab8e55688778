// SQLite with RAII: a connection, a prepared statement. Errors are thrown as StoreError. A
// connection and its statements are used by one thread at a time.
#pragma once

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "control/sqlite/error.h"

namespace dr::control::sqlite {

// The file is damaged: retrying does not help.
class CorruptError : public StoreError {
  public:
    using StoreError::StoreError;
};

class Connection {
  public:
    // `what`: how errors call the file ("store").
    Connection(const char* what, const std::string& path, int flags) : what_(what), path_(path) {
        const int rc = sqlite3_open_v2(path.c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX, nullptr);
        if (rc != SQLITE_OK) {
            const std::string why = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(rc);
            sqlite3_close(db_);
            throw StoreError(fmt::format("{} {}: cannot open: {}", what, path, why));
        }
        sqlite3_busy_timeout(db_, 2000);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { sqlite3_close_v2(db_); }

    void run(const char* sql) {
        if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
    }
    [[noreturn]] void fail() const {
        const int code = sqlite3_errcode(db_);
        const std::string text = fmt::format("{} {}: {}", what_, path_, sqlite3_errmsg(db_));
        if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) throw CorruptError(text);
        throw StoreError(text);
    }
    [[nodiscard]] sqlite3* get() const { return db_; }
    [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

  private:
    const char* what_;
    std::string path_;
    sqlite3* db_ = nullptr;
};

class Statement {
  public:
    Statement(Connection& db, const std::string& sql) : db_(db) {
        if (sqlite3_prepare_v3(db.get(), sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement_,
                               nullptr) != SQLITE_OK)
            db.fail();
    }
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement() { sqlite3_finalize(statement_); }

    Statement& bind(int at, std::int64_t value) {
        if (sqlite3_bind_int64(statement_, at, value) != SQLITE_OK) db_.fail();
        return *this;
    }
    Statement& bind(int at, std::string_view text) {
        if (sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()),
                              SQLITE_STATIC) != SQLITE_OK)
            db_.fail();
        return *this;
    }
    Statement& bind_blob(int at, std::string_view bytes) {
        if (sqlite3_bind_blob(statement_, at, bytes.data(), static_cast<int>(bytes.size()),
                              SQLITE_STATIC) != SQLITE_OK)
            db_.fail();
        return *this;
    }
    // True: a row is there.
    bool step() {
        const int rc = sqlite3_step(statement_);
        if (rc == SQLITE_ROW) return true;
        if (rc != SQLITE_DONE) {
            sqlite3_reset(statement_);
            db_.fail();
        }
        return false;
    }
    void run() {
        step();
        reset();
    }
    void reset() { sqlite3_reset(statement_); }
    [[nodiscard]] std::int64_t integer(int column) const {
        return sqlite3_column_int64(statement_, column);
    }
    [[nodiscard]] std::string_view bytes(int column) const {
        const void* data = sqlite3_column_blob(statement_, column);
        const int size = sqlite3_column_bytes(statement_, column);
        return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
    }

  private:
    Connection& db_;
    sqlite3_stmt* statement_ = nullptr;
};

class ResetOnExit {
  public:
    explicit ResetOnExit(Statement& s) : statement_(s) {}
    ResetOnExit(const ResetOnExit&) = delete;
    ResetOnExit& operator=(const ResetOnExit&) = delete;
    ~ResetOnExit() { statement_.reset(); }

  private:
    Statement& statement_;
};

}  // namespace dr::control::sqlite
