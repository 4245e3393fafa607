/// A command line that nothing can be started from: one line that names the option and says what to do.
struct CommandLineError: Error, Equatable, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    /// `option: message`
    init(_ option: String, _ message: String) { description = "\(option): \(message)" }
}
