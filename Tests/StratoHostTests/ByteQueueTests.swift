import Testing

@testable import StratoHost

@Suite struct ByteQueueTests {
    @Test("Bytes come out as they went in, over the ring's end, and never more than fit")
    func againstModel() {
        var generator = SystemRandomNumberGenerator()
        for capacity in [1, 2, 7, 64] {
            var queue = ByteQueue(capacity: capacity)
            var model: [UInt8] = []
            var next: UInt8 = 0
            for _ in 0..<3000 {
                if Bool.random(using: &generator) {
                    let bytes = (0..<Int.random(in: 0...capacity + 3)).map { _ -> UInt8 in
                        next &+= 1
                        return next
                    }
                    let taken = queue.append(bytes.span)
                    #expect(taken == min(bytes.count, capacity - model.count))
                    model += bytes.prefix(taken)
                } else {
                    let limit = Int.random(in: 1...capacity + 1)
                    let use = Int.random(in: -2...capacity)
                    var shown: [UInt8] = []
                    let result = queue.consume(limit: limit) { span in
                        shown = span.indices.map { span[$0] }
                        return use
                    }
                    #expect(shown == Array(model.prefix(shown.count)))
                    #expect(shown.count <= limit)
                    #expect(model.isEmpty == shown.isEmpty)
                    if result > 0 { model.removeFirst(result) }
                }
                #expect(queue.count == model.count)
                #expect(queue.isEmpty == model.isEmpty)
            }
        }
    }
}
