// Stores events in SQLite, removes old ones and reads pages of them.
#include "control/events/event_log.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include "control/sqlite/sqlite_handle.h"

namespace dr::control {
namespace {

using sqlite::Connection;
using sqlite::ResetOnExit;
using sqlite::Statement;

constexpr int kSchemaVersion = 1;
constexpr const char* kSchema = R"sql(
BEGIN;
CREATE TABLE words(id INTEGER PRIMARY KEY, word TEXT UNIQUE NOT NULL);
CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
    subscriber TEXT NOT NULL, line TEXT NOT NULL, tunnel INTEGER NOT NULL, kind INTEGER NOT NULL,
    before INTEGER NOT NULL, after INTEGER NOT NULL, cause INTEGER NOT NULL,
    outage INTEGER NOT NULL, endpoint TEXT NOT NULL, value INTEGER NOT NULL);
CREATE INDEX by_time ON events(at, id);
CREATE INDEX by_subscriber ON events(subscriber, at, id);
CREATE TABLE position(one INTEGER PRIMARY KEY CHECK (one = 1), incarnation TEXT NOT NULL,
    number INTEGER NOT NULL);
PRAGMA user_version = 1;
COMMIT;
)sql";
constexpr const char* kColumns =
    "id, at, subscriber, line, tunnel, kind, before, after, cause, outage, endpoint, value";
// A time that is not an integer, in a damaged file, could not be placed between two pages.
constexpr const char* kPlace =
    "at >= ?1 AND (at, id) < (?2, ?3) AND typeof(at) = 'integer' ORDER BY at DESC, id DESC";
// Events removed by one append at most: more than one append usually adds.
constexpr std::int64_t kMaxRemoved = 5'000;
constexpr std::int64_t kAgeStep = 600'000'000;  // us of the log's clock between two writes of it
constexpr std::int64_t kHeaviest = 1000;        // subscribers that are looked at

struct Place {
    std::int64_t at = INT64_MAX;
    std::int64_t id = INT64_MAX;
};

// "AT.ID": a page goes on below this event.
Place parse_token(const std::string& token) {
    Place place;
    if (token.empty()) return place;
    const char* end = token.data() + token.size();
    const auto at = std::from_chars(token.data(), end, place.at);
    if (at.ec != std::errc{} || at.ptr == end || *at.ptr != '.')
        throw std::invalid_argument("page token");
    const auto id = std::from_chars(at.ptr + 1, end, place.id);
    if (id.ec != std::errc{} || id.ptr != end) throw std::invalid_argument("page token");
    return place;
}

}  // namespace

bool EventQuery::matches(const LoggedEvent& event) const {
    return (subscriber.empty() || event.subscriber == subscriber) &&
           (line.empty() || event.line == line) && (tunnel == 0 || event.tunnel == tunnel) &&
           (kinds.empty() || std::find(kinds.begin(), kinds.end(), event.kind) != kinds.end());
}

class EventLog::Writer {
  public:
    explicit Writer(const std::string& path)
        : db_("event log", path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) {
        db_.run("PRAGMA journal_mode = WAL");
        db_.run("PRAGMA synchronous = NORMAL");
        prepare_file(path);
        insert_.emplace(db_,
                        "INSERT INTO events(at, subscriber, line, tunnel, kind, before, after, "
                        "cause, outage, endpoint, value) "
                        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
        put_position_.emplace(db_, "INSERT OR REPLACE INTO position VALUES(1, ?1, ?2)");
        put_age_.emplace(db_, "INSERT OR REPLACE INTO age VALUES(1, ?1)");
        put_word_.emplace(db_, "INSERT INTO words(id, word) VALUES(?1, ?2)");
        remove_old_.emplace(db_,
                            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ?1 "
                            "ORDER BY at LIMIT ?2)");
        remove_first_.emplace(
            db_, "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?1)");
        remove_of_.emplace(db_,
                           "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE "
                           "subscriber = ?1 ORDER BY at, id LIMIT ?2)");
        heaviest_.emplace(db_,
                          "SELECT subscriber, count(*) AS n FROM events GROUP BY subscriber ORDER "
                          "BY n DESC LIMIT ?1");
        Statement words(db_, "SELECT id, word FROM words");
        while (words.step()) words_[std::string(words.bytes(1))] = words.integer(0);
        Statement position(db_, "SELECT incarnation, number FROM position");
        if (position.step())
            position_ = {std::string(position.bytes(0)),
                         static_cast<std::uint64_t>(position.integer(1))};
    }

    [[nodiscard]] std::uint64_t count() {
        Statement rows(db_, "SELECT count(*) FROM events");
        rows.step();
        return static_cast<std::uint64_t>(rows.integer(0));
    }
    [[nodiscard]] std::int64_t last_id() {
        Statement rows(db_, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence");
        rows.step();
        return rows.integer(0);
    }
    [[nodiscard]] const Position& position() const { return position_; }

    // Runs `work` in one transaction.
    template <typename Work>
    void commit(const Work& work) {
        const auto known = words_.size();
        db_.run("BEGIN IMMEDIATE");
        try {
            work();
            db_.run("COMMIT");
        } catch (...) {
            if (db_.in_transaction())
                sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
            if (words_.size() != known)
                std::erase_if(words_, [&](const auto& word) {
                    return word.second > static_cast<std::int64_t>(known);
                });
            throw;
        }
    }
    std::int64_t insert(const LoggedEvent& e) {
        insert_->bind(1, e.at_us)
            .bind(2, e.subscriber)
            .bind(3, e.line)
            .bind(4, std::int64_t{e.tunnel})
            .bind(5, word(e.kind))
            .bind(6, std::int64_t{e.from})
            .bind(7, std::int64_t{e.to})
            .bind(8, word(e.cause))
            .bind(9, static_cast<std::int64_t>(e.outage_ns))
            .bind(10, e.endpoint)
            .bind(11, static_cast<std::int64_t>(e.value))
            .run();
        return sqlite3_last_insert_rowid(db_.get());
    }
    void put_position(const Position& position) {
        put_position_->bind(1, position.incarnation)
            .bind(2, static_cast<std::int64_t>(position.number))
            .run();
    }
    void put_age(std::int64_t us) {
        if (age_ && us - *age_ < kAgeStep && us >= *age_) return;
        put_age_->bind(1, us).run();
        age_ = us;
    }
    void committed(const Position& position) { position_ = position; }
    // These return how many were removed.
    std::uint64_t remove_older(std::int64_t than_us) {
        remove_old_->bind(1, than_us).bind(2, kMaxRemoved).run();
        return static_cast<std::uint64_t>(sqlite3_changes(db_.get()));
    }
    std::uint64_t remove_first(std::int64_t count) {
        remove_first_->bind(1, count).run();
        return static_cast<std::uint64_t>(sqlite3_changes(db_.get()));
    }
    // Removes from the subscribers with the most events, or from all if they have equally many.
    // `bound`: of the log.
    std::uint64_t remove_surplus(std::int64_t count, std::int64_t bound) {
        std::uint64_t removed = 0;
        while (count > 0) {
            if (surplus_.empty() && even_ <= 0) find_surplus(std::max<std::int64_t>(1, bound / 50));
            std::int64_t gone = 0;
            if (surplus_.empty()) {
                gone = static_cast<std::int64_t>(remove_first(count));
                even_ -= gone;
                if (gone == 0) break;
            } else {
                auto& [subscriber, more] = surplus_.back();
                remove_of_->bind(1, subscriber).bind(2, std::min(count, more)).run();
                gone = sqlite3_changes(db_.get());
                more -= gone;
                if (more <= 0 || gone == 0) surplus_.pop_back();
            }
            count -= gone;
            removed += static_cast<std::uint64_t>(gone);
        }
        return removed;
    }
    // The log's own clock when it was last written; none: the log is new.
    std::optional<std::int64_t> age() {
        Statement kept(db_, "SELECT us FROM age");
        if (kept.step()) return kept.integer(0);
        Statement rows(db_,
                       "SELECT at FROM events WHERE typeof(at) = 'integer' ORDER BY at DESC "
                       "LIMIT 1");
        if (!rows.step()) return std::nullopt;
        return rows.integer(0);
    }

  private:
    // Finds the subscribers with the most events, from which at least `wanted` events are to be
    // removed. It reads the whole index, so its result is used up before it runs again.
    void find_surplus(std::int64_t wanted) {
        std::vector<std::pair<std::string, std::int64_t>> most;
        const ResetOnExit reset(*heaviest_);
        heaviest_->bind(1, kHeaviest + 1);
        while (heaviest_->step())
            most.emplace_back(std::string(heaviest_->bytes(0)), heaviest_->integer(1));
        std::int64_t freed = 0;
        std::size_t i = 0;
        for (; i + 1 < most.size() && freed < wanted; ++i)
            freed += static_cast<std::int64_t>(i + 1) * (most[i].second - most[i + 1].second);
        const std::int64_t level = most.empty() ? 0 : most[i].second;
        most.resize(i);
        surplus_ = std::move(most);
        for (auto& [subscriber, more] : surplus_) more -= level;
        std::erase_if(surplus_, [](const auto& s) { return s.second <= 0; });
        std::reverse(surplus_.begin(), surplus_.end());
        if (surplus_.empty()) even_ = wanted;
    }
    void prepare_file(const std::string& path) {
        Statement version(db_, "PRAGMA user_version");
        version.step();
        const std::int64_t found = version.integer(0);
        version.reset();
        if (found == 0)
            db_.run(kSchema);
        else if (found != kSchemaVersion)
            throw StoreError(fmt::format(
                "event log {}: schema version {}, but this drd knows version {}: use a newer drd, "
                "or another file",
                path, found, kSchemaVersion));
        // An older drd ignores this table.
        db_.run(
            "CREATE TABLE IF NOT EXISTS age(one INTEGER PRIMARY KEY CHECK (one = 1), "
            "us INTEGER NOT NULL)");
    }
    // The number of a word. They are dense from 1, so that a rollback can tell which were new.
    std::int64_t word(const std::string& text) {
        const auto found = words_.find(text);
        if (found != words_.end()) return found->second;
        const auto id = static_cast<std::int64_t>(words_.size()) + 1;
        put_word_->bind(1, id).bind(2, text).run();
        return words_.emplace(text, id).first->second;
    }

    Connection db_;
    std::optional<Statement> insert_, put_position_, put_word_, remove_old_, remove_first_;
    std::optional<Statement> remove_of_, heaviest_, put_age_;
    std::optional<std::int64_t> age_;                            // as it is in the file
    std::vector<std::pair<std::string, std::int64_t>> surplus_;  // to remove; the most comes last
    std::int64_t even_ = 0;  // all have equally many: the oldest to remove
    std::map<std::string, std::int64_t> words_;
    Position position_;
};

// One thread at a time.
class EventLog::Reader {
  public:
    explicit Reader(const std::string& path)
        : db_("event log", path, SQLITE_OPEN_READONLY),
          word_(db_, "SELECT word FROM words WHERE id = ?1"),
          by_time_(db_, fmt::format("SELECT {} FROM events WHERE {}", kColumns, kPlace)),
          by_subscriber_(db_, fmt::format("SELECT {} FROM events WHERE subscriber = ?4 AND {}",
                                          kColumns, kPlace)),
          after_(db_, fmt::format("SELECT {} FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
                                  kColumns)) {}

    Page list(const EventQuery& query, std::int64_t since_us, Place below, std::uint32_t limit) {
        Page page;
        Statement& rows = query.subscriber.empty() ? by_time_ : by_subscriber_;
        const ResetOnExit reset(rows);
        rows.bind(1, since_us).bind(2, below.at).bind(3, below.id);
        if (!query.subscriber.empty()) rows.bind(4, query.subscriber);
        for (std::uint32_t visited = 0; rows.step(); ++visited) {
            if (page.events.size() == limit || visited == kMaxVisited) {
                page.next = fmt::format("{}.{}", below.at, below.id);
                break;
            }
            LoggedEvent event = event_in(rows);
            below = {event.at_us, event.id};
            if (query.matches(event)) page.events.push_back(std::move(event));
        }
        return page;
    }
    std::vector<LoggedEvent> after(const EventQuery& query, std::int64_t& id, std::uint32_t limit) {
        const ResetOnExit reset(after_);
        after_.bind(1, id).bind(2, std::int64_t{limit});
        std::vector<LoggedEvent> out;
        while (after_.step()) {
            LoggedEvent event = event_in(after_);
            id = event.id;
            if (query.matches(event)) out.push_back(std::move(event));
        }
        return out;
    }

  private:
    LoggedEvent event_in(const Statement& row) {
        LoggedEvent e;
        e.id = row.integer(0);
        e.at_us = row.integer(1);
        e.subscriber = row.bytes(2);
        e.line = row.bytes(3);
        e.tunnel = static_cast<std::uint32_t>(row.integer(4));
        e.kind = word(row.integer(5));
        e.from = static_cast<std::uint8_t>(row.integer(6));
        e.to = static_cast<std::uint8_t>(row.integer(7));
        e.cause = word(row.integer(8));
        e.outage_ns = static_cast<std::uint64_t>(row.integer(9));
        e.endpoint = row.bytes(10);
        e.value = static_cast<std::uint64_t>(row.integer(11));
        return e;
    }
    const std::string& word(std::int64_t id) {
        auto [found, is_new] = words_.try_emplace(id);
        if (is_new) {
            const ResetOnExit reset(word_);
            if (word_.bind(1, id).step()) found->second = word_.bytes(0);
        }
        return found->second;
    }

    Connection db_;
    Statement word_, by_time_, by_subscriber_, after_;
    std::unordered_map<std::int64_t, std::string> words_;
};

EventLog::EventLog(const std::string& path, Bounds bounds)
    : bounds_(bounds),
      writer_(std::make_unique<Writer>(path)),
      reader_(std::make_unique<Reader>(path)),
      last_id_(writer_->last_id()),
      count_(writer_->count()) {
    age_us_ = writer_->age();
    aged_at_ = std::chrono::steady_clock::now();
}

EventLog::~EventLog() = default;

EventLog::Position EventLog::position() const {
    return writer_->position();
}

void EventLog::append(std::vector<LoggedEvent> events, const Position& position,
                      std::int64_t now_us) {
    std::int64_t last = 0;
    std::uint64_t have = count();
    const std::int64_t age = age_clock(now_us);
    writer_->commit([&] {
        for (const auto& event : events) last = writer_->insert(event);
        writer_->put_position(position);
        have += events.size();
        if (bounds_.age_s != 0) have -= writer_->remove_older(age - bounds_.age_s * 1'000'000);
        writer_->put_age(age);
        // Removes more than was added, so the log shrinks when its bound was lowered.
        if (have > bounds_.events)
            have -= writer_->remove_surplus(
                std::min(static_cast<std::int64_t>(have - bounds_.events),
                         static_cast<std::int64_t>(events.size()) + kMaxRemoved),
                static_cast<std::int64_t>(bounds_.events));
    });
    writer_->committed(position);
    const std::lock_guard lock(mutex_);
    count_ = have;
    if (last != 0) last_id_ = last;
    grown_.notify_all();
}

std::int64_t EventLog::age_clock(std::int64_t now_us) {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double, std::micro> passed = now - aged_at_;
    aged_at_ = now;
    if (!age_us_) age_us_ = now_us;
    const auto ahead = static_cast<double>(now_us - std::min(now_us, *age_us_));
    const double step = std::min(ahead, passed.count() * bounds_.pace);
    age_us_ = std::min(now_us, *age_us_ + static_cast<std::int64_t>(step));
    return *age_us_;
}

EventLog::Page EventLog::list(const EventQuery& query, std::int64_t since_us, std::int64_t until_us,
                              const std::string& token, std::uint32_t limit) {
    Place below = parse_token(token);
    if (until_us <= below.at) below = {until_us, INT64_MIN};
    const std::lock_guard lock(reader_mutex_);
    return reader_->list(query, since_us, below, limit);
}

std::vector<LoggedEvent> EventLog::after(const EventQuery& query, std::int64_t& id,
                                         std::uint32_t limit) {
    const std::lock_guard lock(reader_mutex_);
    return reader_->after(query, id, limit);
}

bool EventLog::wait_for(std::int64_t id, std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return grown_.wait_for(lock, time, [&] { return last_id_ > id; });
}

std::int64_t EventLog::last_id() const {
    const std::lock_guard lock(mutex_);
    return last_id_;
}

std::uint64_t EventLog::count() const {
    const std::lock_guard lock(mutex_);
    return count_;
}

}  // namespace dr::control
