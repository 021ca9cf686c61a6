// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/cuda_memory.cuh"
#include "worker/model/shortlist.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace worker::kernels::cuda {
struct ListOrder;
struct ListRow;
}  // namespace worker::kernels::cuda

namespace worker::model {

/// Shortlists of rows of logits that lie on the device: `make_room`, then for each call `order`,
/// `launch` and `read`. One stream, one thread.
class RowLists {
 public:
    explicit RowLists(std::uint32_t vocab);
    ~RowLists();
    RowLists(const RowLists&) = delete;
    RowLists& operator=(const RowLists&) = delete;

    /// Room for so many rows; true when memory has moved, of which a recorded `launch` knows.
    [[nodiscard]] bool make_room(std::size_t rows);
    /// Sends what is asked of each row. One that names more tokens than kNamedMax gets no list.
    void order(std::span<const ShortlistWish> wishes, cudaStream_t stream);
    /// Over logits [rows][vocab] on the device.
    void launch(const float* logits, unsigned rows, cudaStream_t stream) const;
    /// The lists of the rows that were ordered, when all before is done; until the next `order`.
    [[nodiscard]] std::span<const Shortlist> read(cudaStream_t stream);

 private:
    std::uint32_t vocab_;
    std::size_t rows_ = 0;
    std::uint32_t named_count_ = 0;
    std::vector<bool> refused_;  // of the call under way
    DeviceArray<kernels::cuda::ListOrder> orders_;
    DeviceArray<std::uint32_t> named_;
    DeviceArray<float> named_logits_;
    DeviceArray<kernels::cuda::ListRow> lists_;
    std::unique_ptr<PinnedArray<kernels::cuda::ListOrder>> orders_host_;
    std::unique_ptr<PinnedArray<std::uint32_t>> named_host_;
    std::unique_ptr<PinnedArray<float>> named_logits_host_;
    std::unique_ptr<PinnedArray<kernels::cuda::ListRow>> lists_host_;
    std::vector<Shortlist> shortlists_;
};

}  // namespace worker::model
