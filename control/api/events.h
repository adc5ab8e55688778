// dr.v1.Events.
#pragma once

#include "control/api/status.h"
#include "control/api/watches.h"
#include "control/api/work.h"
#include "control/events/event_log.h"
#include "dr/v1/event.grpc.pb.h"

namespace dr::control {

class EventsService final : public Worked<v1::Events::Service, v1::Events> {
  public:
    EventsService(Work& work, EventLog& log, Stopping& stopping, StreamLimit& watches)
        : Worked(work), log_(log), stopping_(stopping), watches_(watches) {
        unary("List", &EventsService::List);
    }

    grpc::Status List(grpc::ServerContext*, const v1::ListEventsRequest*,
                      v1::ListEventsResponse*) override;
    grpc::Status Watch(grpc::ServerContext*, const v1::WatchEventsRequest*,
                       grpc::ServerWriter<v1::WatchEventsResponse>*) override;

  private:
    EventLog& log_;
    Stopping& stopping_;
    StreamLimit& watches_;
};

}  // namespace dr::control
