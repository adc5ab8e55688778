// Lists of any length: pages fetched as they are needed, written as they come.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/connection.h"
#include "cli/errors.h"
#include "cli/json.h"
#include "cli/table.h"

namespace dr::cli {

inline constexpr std::uint64_t kPageSize = 1000;

// Calls page(objects) for each page until there are no more or `limit` objects were seen (0: no
// limit). call(client_context, request, &response) -> status; objects_of(response) -> pointer to
// the repeated field.
template <class Response, class Request, class Call, class ObjectsOf, class Page>
void for_each_page(Context& context, Request request, std::uint64_t limit, Call&& call,
                   ObjectsOf&& objects_of, Page&& page) {
    std::uint64_t left = limit;
    do {
        request.set_page_size(
            static_cast<std::uint32_t>(limit == 0 ? kPageSize : std::min(left, kPageSize)));
        Response response;
        check(context,
              unary([&](grpc::ClientContext& client) { return call(client, request, &response); }));
        auto* objects = objects_of(response);
        // A server may send more than asked for, to keep together what belongs together.
        if (limit != 0 && static_cast<std::uint64_t>(objects->size()) > left) {
            objects->DeleteSubrange(static_cast<int>(left),
                                    objects->size() - static_cast<int>(left));
        }
        page(*objects);
        left -= std::min(left, static_cast<std::uint64_t>(objects->size()));
        request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty() && (limit == 0 || left != 0));
}

// A list in the chosen form: a table, or a JSON array with one object a line.
class ListWriter {
  public:
    ListWriter(Context& context, std::vector<Column> columns)
        : context_(context), table_(std::move(columns)), array_(context.out) {}

    // cells_of(object) -> the row.
    template <class Objects, class CellsOf>
    void add(const Objects& objects, CellsOf&& cells_of) {
        for (const auto& object : objects) {
            if (context_.json()) {
                array_.add(to_json(object));
            } else {
                table_.add(cells_of(object));
            }
        }
        if (!context_.json()) {
            std::fputs(table_.flush().c_str(), context_.out);
        }
        check_written(context_.out);
    }
    void end() {
        if (context_.json()) {
            array_.end();
        }
    }

  private:
    Context& context_;
    Table table_;
    JsonArrayWriter array_;
};

}  // namespace dr::cli
