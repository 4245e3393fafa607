internal import StratoHost
internal import StratoVMM
internal import Synchronization

/// Events on their way from the machine's threads to the server's loop.
final class EventInbox: Sendable {
    struct Delivery: Sendable {
        var events: [(event: MachineEvent, microseconds: Int64)] = []
        /// How many older ones had no room.
        var droppedCount = 0
    }

    /// More than a guest can cause while the loop has a moment to run.
    static let capacity = 256

    private let delivery = Mutex(Delivery())

    /// Adds an event at the present time. When there is no room the oldest goes, but never the last that a machine sends.
    ///
    /// - Returns: true if the inbox was empty, so that somebody has to be told.
    func add(_ event: MachineEvent) -> Bool {
        let microseconds = WallClock.microseconds
        return delivery.withLock { delivery in
            if delivery.events.count >= EventInbox.capacity {
                delivery.events.removeFirst()
                delivery.droppedCount &+= 1
            }
            delivery.events.append((event, microseconds))
            return delivery.events.count == 1
        }
    }

    /// Takes all there is.
    func take() -> Delivery {
        delivery.withLock { delivery in
            defer { delivery = Delivery() }
            return delivery
        }
    }
}
