/// One thing that is wrong with a configuration.
public struct ConfigurationProblem: Sendable, Hashable, CustomStringConvertible {
    /// The property's path from the configuration: `storageDevices[1].image.path`.
    public let path: String

    /// What is wrong and what to do, in one line that does not repeat the path.
    public let message: String

    /// A problem at a path.
    public init(path: String, message: String) {
        self.path = path
        self.message = message
    }

    /// Path and message in one line.
    public var description: String { "\(path): \(message)" }
}

/// A configuration from which no machine can be made.
public struct ConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Everything that is wrong, at least one problem, in the order of the configuration's properties.
    public let problems: [ConfigurationProblem]

    /// The problems in one line.
    public var description: String {
        var text = ""
        for problem in problems {
            if !text.isEmpty { text += "; " }
            text += problem.description
        }
        return text
    }
}
