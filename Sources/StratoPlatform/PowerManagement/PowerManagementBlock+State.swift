package import StratoHost

extension PowerManagementBlock {
    /// Everything that the registers hold.
    package struct State: Equatable, Sendable {
        static let version: UInt32 = 1

        var status: UInt16 = 0
        var enable: UInt16 = 0
        var control: UInt32 = 0
        var generalStatus: UInt64 = 0
        var generalEnable: UInt64 = 0
        /// Read back as written; there is no system management mode.
        var systemManagementEnable: UInt32 = 0
        var timerCount: UInt32 = 0

        package init() {}

        /// The state as bytes, a version first.
        package func encoded() -> [UInt8] {
            var encoder = StateEncoder(version: State.version)
            encoder.put(status)
            encoder.put(enable)
            encoder.put(control)
            encoder.put(generalStatus)
            encoder.put(generalEnable)
            encoder.put(systemManagementEnable)
            encoder.put(timerCount)
            return encoder.bytes
        }

        /// The state that was made into bytes.
        ///
        /// - Throws: `StateError` for anything that `encoded` can't have made.
        package init(decoding bytes: [UInt8]) throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: State.version...State.version)
            status = try decoder.take()
            enable = try decoder.take()
            control = try decoder.take()
            generalStatus = try decoder.take()
            generalEnable = try decoder.take()
            systemManagementEnable = try decoder.take()
            timerCount = try decoder.take()
            try decoder.finish()
            guard status & ~Event.status == 0 else { throw .invalid("PM1 status") }
            guard enable & ~Event.enable == 0 else { throw .invalid("PM1 enable") }
            guard control & ~Control.stored == 0 else { throw .invalid("PM1 control") }
        }
    }
}
