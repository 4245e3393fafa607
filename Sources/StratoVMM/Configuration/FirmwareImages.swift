/// UEFI firmware in flash, which a standard machine starts with: EDK II's two images.
public struct FirmwareImages: Sendable, Hashable {
    /// Path of the firmware itself: pflash unit 0.
    public var code: String

    /// The guest cannot write the firmware, so that several machines can share the image.
    public var isCodeReadOnly: Bool

    /// Path of the variable store, which the firmware writes: pflash unit 1. Nil forgets variables with the machine.
    public var variables: String?

    /// The guest cannot write its variables: refused when the machine is made, as firmware does not work so.
    public var areVariablesReadOnly: Bool

    /// Firmware that is only read.
    public init(code: String, variables: String? = nil) {
        self.code = code
        isCodeReadOnly = true
        self.variables = variables
        areVariablesReadOnly = false
    }
}
