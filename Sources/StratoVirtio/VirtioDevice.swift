package import StratoHost
package import StratoMemory

/// Device types (virtio 1.2, 5).
package struct VirtioDeviceType: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let network = VirtioDeviceType(rawValue: 1)
    package static let block = VirtioDeviceType(rawValue: 2)
    package static let console = VirtioDeviceType(rawValue: 3)
    package static let entropy = VirtioDeviceType(rawValue: 4)
}

/// Why a device or a transport refused.
package struct VirtioError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// How a device reaches its driver. Every call comes from the device's own thread and returns at once.
package protocol VirtioInterrupt: AnyObject, Sendable {
    /// A queue has used buffers that the driver wants to hear of.
    func queueUsed(_ index: Int)

    /// The configuration space has changed (virtio 1.2, 2.5).
    func configurationChanged()

    /// The driver broke the rules, and the device does no more until it is reset (virtio 1.2, 2.1.2: DEVICE_NEEDS_RESET).
    func deviceNeedsReset()
}

/// What a device is given when its driver has set DRIVER_OK. It is the device's until `reset`.
package struct VirtioActivation: Sendable {
    /// One queue: where it is, and where to go on.
    package struct Queue: Sendable {
        package let layout: QueueLayout
        package let position: QueuePosition

        package init(layout: QueueLayout, position: QueuePosition = QueuePosition()) {
            self.layout = layout
            self.position = position
        }
    }

    /// Those negotiated.
    package let features: VirtioFeatures

    /// What descriptors point into.
    package let memory: GuestMemory

    /// As many as the device has, nil for one that the driver does not use.
    package let queues: [Queue?]

    /// The way to the driver.
    package let interrupt: any VirtioInterrupt

    package init(features: VirtioFeatures, memory: GuestMemory, queues: [Queue?], interrupt: any VirtioInterrupt) {
        self.features = features
        self.memory = memory
        self.queues = queues
        self.interrupt = interrupt
    }
}

/// A virtio device, whatever transport it sits behind.
///
///                    activate                    pause
///     ┌──────────┐ ───────────► ┌────────────┐ ─────────► ┌────────┐
///     │ inactive │              │   active   │            │ paused │
///     └──────────┘ ◄─────────── └────────────┘ ◄───────── └────────┘
///          │  ▲        reset                     resume        │
///          │  └────────────────────────────────────────────────┘
///          ▼ shutDown                                  reset
///       (ended)
///
/// - `inactive`: the device has no queue, and touches no guest memory.
/// - `active`: its queues are its own; it serves them on the thread of its event loop.
/// - `paused`: it has its queues, nothing is in flight, and it takes nothing from them.
///
/// A transport calls `activate`, `stopQueue` and `reset` one at a time, from whatever thread. Each has its effect by the
/// time it returns: after `reset` no request is in flight, no guest memory is touched and no interrupt comes. So a device
/// must be able to finish without the thread that calls. `pause` and `resume` may come in any state, and a device that is
/// paused stays so through `activate` and `reset`.
///
/// Lock order: transport, then device, then disk. A device calls its `VirtioInterrupt` with its own lock held; an
/// interrupt therefore takes neither. Configuration space is read without the device's lock, so that a virtual CPU never
/// waits for a disk there.
package protocol VirtioDevice: AnyObject, Sendable {
    /// What the device is called in errors and the log.
    var name: String { get }

    /// What the driver is told it is.
    var type: VirtioDeviceType { get }

    /// What the driver may choose from. Constant.
    var offeredFeatures: VirtioFeatures { get }

    /// The largest size of each queue. Constant; as many as there are queues.
    var queueMaximumSizes: [UInt16] { get }

    /// What notifies the device of each queue; the transport binds the kernel's doorbells to them. Constant.
    var kicks: [EventDescriptor] { get }

    /// Changes with every change of the configuration space that is not the driver's own (virtio 1.2, 2.5.1).
    var configurationGeneration: UInt32 { get }

    /// Reads the configuration space; what lies outside reads as zeros.
    ///
    /// - Parameters:
    ///   - offset: in bytes, not negative.
    ///   - width: 1...8 bytes.
    /// - Returns: the value, in the low `width` bytes.
    func readConfiguration(at offset: Int, width: Int) -> UInt64

    /// Writes the configuration space; what the driver may not write keeps its value.
    func writeConfiguration(_ value: UInt64, at offset: Int, width: Int)

    /// Makes what the host carries requests out with, before the driver is ready: where threads may not make it any more by
    /// then.
    ///
    /// - Parameter memory: what the driver's queues will be in.
    func prepare(for memory: GuestMemory)

    /// The driver is ready: the queues become the device's.
    ///
    /// - Throws: `VirtioError`; the device stays inactive.
    func activate(_ activation: VirtioActivation) throws(VirtioError)

    /// Takes one queue back, with the driver's other queues going on.
    func stopQueue(_ index: Int)

    /// Takes all queues back, and forgets what the driver had set.
    func reset()

    /// Finishes what is in flight and takes no more.
    func pause()

    /// Goes on.
    func resume()

    /// Gives back all that the device has of the host's. The last call.
    func shutDown()

    /// How far each queue has come, nil for one that is not in use. To be asked when paused.
    var queuePositions: [QueuePosition?] { get }

    /// The device's own state, beside that of the transport and the queues.
    func saveState() -> [UInt8]

    /// Takes over what `saveState` gave. Outside data; called while inactive.
    ///
    /// - Throws: `VirtioError`, and nothing has changed.
    func restoreState(_ bytes: [UInt8]) throws(VirtioError)
}

extension VirtioDevice {
    /// Nothing, for a device that needs nothing.
    package func prepare(for memory: GuestMemory) {}
}
