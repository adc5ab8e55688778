// Mark and sweep: brings the data plane to the state of one snapshot of the store.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "control/model/catalog.h"
#include "control/model/records.h"
#include "control/southbound/channel.h"
#include "control/southbound/conversation.h"

namespace dr::control {

// SyncBegin, everything in the view as transactions of moderate size with at most kMaxOutstanding
// unanswered, SyncEnd. A record is set aside if its prefix or tunnel id still belongs to another
// row of an older state. Ids that are no longer in the store are deleted explicitly. The records
// set aside are sent last, in one transaction, which the data plane judges by its result. A record
// that the data plane refuses for itself is left out, so that one bad object does not block the
// others.
class Replay {
  public:
    // `may_force`: the transactions and the sweep may drop most rows. `next_transaction` is counted
    // on.
    Replay(Channel& channel, Catalog::View& view, bool may_force, std::uint64_t& next_transaction)
        : channel_(channel), view_(view), may_force_(may_force), next_(next_transaction) {}

    // The data plane's SyncResult. Throws ChannelError, RefusalError, StoreError.
    southbound::Result run();
    // The records that the replay left out, the first ones by name and with the data plane's
    // reason; empty: the whole view is installed.
    [[nodiscard]] std::string left_out();

  private:
    struct Sent {
        std::uint64_t id;
        Transaction transaction;
    };
    void send_objects();
    std::optional<store::Secrets> keys_of(const v1::Subscriber& subscriber);
    void add(southbound::Type type, const std::vector<std::uint8_t>& record);
    void flush(Transaction& transaction);
    void answer();
    void settle();
    void leave_out(Sent& sent, const southbound::Result& result);
    void put_aside(Sent& sent, std::uint32_t record);
    void delete_gone();

    Channel& channel_;
    Catalog::View& view_;
    bool may_force_;
    std::uint64_t& next_;
    Transaction building_;
    Transaction aside_;
    std::deque<Sent> outstanding_;
    struct LeftOut {
        Kind kind;
        std::uint32_t id;
        std::string why;
    };
    std::vector<LeftOut> left_out_;
    bool deleted_gone_ = false;
    bool last_ = false;  // what was put aside has been sent: a further conflict is final
};

// TxnBegin, the records, TxnCommit.
void send_transaction(Channel& channel, std::uint64_t id, const Transaction& transaction);

}  // namespace dr::control
