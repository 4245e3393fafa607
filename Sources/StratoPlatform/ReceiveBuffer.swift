/// What a UART has taken from the host and the guest has not read yet.
///
/// More than a chip's own FIFO holds, so that a pasted text does not go to and fro between the threads with every few bytes;
/// what is beyond that counts as being on the line still.
struct ReceiveBuffer: ~Copyable {
    /// In bytes.
    static let capacity = 1024

    // A ring.
    private var bytes = [UInt8](repeating: 0, count: ReceiveBuffer.capacity)
    private var head = 0
    private(set) var count = 0

    init() {}

    var room: Int { ReceiveBuffer.capacity - count }

    /// What there is, the oldest first. Of more than there is room for, the first are taken.
    var contents: [UInt8] {
        get { (0..<count).map { bytes[(head + $0) % ReceiveBuffer.capacity] } }
        set {
            discard(count)
            for byte in newValue.prefix(ReceiveBuffer.capacity) { append(byte) }
        }
    }

    /// Whether it is worth to ask the host for more now that one was taken: not with every byte, as a wake-up of the host's
    /// thread costs more than many of them.
    var isWorthFilling: Bool { count == ReceiveBuffer.capacity / 2 || count == 0 }

    /// Adds a byte; false, and it is lost, if there is no room.
    @discardableResult
    mutating func append(_ byte: UInt8) -> Bool {
        guard count < ReceiveBuffer.capacity else { return false }
        bytes[(head + count) % ReceiveBuffer.capacity] = byte
        count += 1
        return true
    }

    /// The oldest byte.
    mutating func popFirst() -> UInt8? {
        guard count > 0 else { return nil }
        let byte = bytes[head]
        discard(1)
        return byte
    }

    /// Throws the oldest away, as many as there are at most.
    mutating func discard(_ amount: Int) {
        let amount = min(amount, count)
        head = (head + amount) % ReceiveBuffer.capacity
        count -= amount
    }
}
