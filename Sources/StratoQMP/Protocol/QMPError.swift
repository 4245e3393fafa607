package import StratoVMM

/// What a client is told about a command that was not carried out.
package struct QMPError: Error, Sendable {
    /// QEMU's `QapiErrorClass`: the part of an error that programs look at.
    package enum Class: String, Sendable {
        case generic = "GenericError"
        case commandNotFound = "CommandNotFound"
        case deviceNotActive = "DeviceNotActive"
        case deviceNotFound = "DeviceNotFound"
        case kvmMissingCapability = "KVMMissingCap"
    }

    package let errorClass: Class

    /// For people: what is wrong and what to do.
    package let description: String

    package init(_ description: String, class errorClass: Class = .generic) {
        self.errorClass = errorClass
        self.description = description
    }

    package init(_ error: MachineControlError) {
        self.init(error.description)
    }

    package init(_ error: JSONError) {
        self.init("JSON parse error, \(error)")
    }

    var json: JSONValue {
        .object(["class": .string(errorClass.rawValue), "desc": .string(description)])
    }
}
