// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace marketplace::http {

class IoThread;

/// While one lives, what its thread posts to io threads (answers, above all) is collected; it
/// leaves when the batch ends. An io thread is woken once, not once per answer: on a machine with
/// few cores each of these wakes would take the core from the thread that answers.
class PostBatch {
 public:
    PostBatch();
    ~PostBatch();
    PostBatch(const PostBatch&) = delete;
    PostBatch& operator=(const PostBatch&) = delete;

    /// The calling thread's; null when there is none.
    [[nodiscard]] static PostBatch* current() noexcept;
    void add(std::shared_ptr<IoThread> thread, std::function<void()> work);

 private:
    using Work = std::vector<std::function<void()>>;
    PostBatch* const outer_;
    std::vector<std::pair<std::shared_ptr<IoThread>, Work>> posts_;
};

}  // namespace marketplace::http
