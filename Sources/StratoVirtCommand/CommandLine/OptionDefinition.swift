/// A property of an option or device: what it is called, what it takes, and its line of help.
struct PropertyDefinition: Sendable {
    let name: String
    /// What stands for the value in help: `on|off`, `N`, `FILE`.
    let value: String
    let help: String

    init(_ name: String, _ value: String, _ help: String) {
        self.name = name
        self.value = value
        self.help = help
    }
}

/// A kind of device, character backend or object: the first word of its option's value.
struct ClassDefinition: Sendable {
    let name: String
    let help: String
    let properties: [PropertyDefinition]
}

/// What words follow an option.
enum OptionValue: Sendable {
    /// None.
    case flag
    /// One, or none.
    case optional(String)
    /// One, as it is.
    case text(String)
    /// Any number, which are joined.
    case words(String)
    /// A list of properties; `leading` tells what a first element without a name is.
    case properties(String, leading: LeadingElement, [PropertyDefinition])
    /// A class and its properties.
    case classes(String, [ClassDefinition])
    /// Any number, which are not looked at.
    case ignored
}

/// What the first element of a property list can be beside a property.
enum LeadingElement: Sendable, Equatable {
    /// Nothing else.
    case none
    /// A class, which has to be there.
    case className
    /// The value of a property whose name is left out.
    case valueOf(String)
    /// The value of a property whose name is left out; it may contain `=`.
    case addressOf(String)
}

/// The headings of the help text, in its order.
enum OptionGroup: String, Sendable, CaseIterable {
    case machine = "Machine"
    case boot = "Kernel"
    case storage = "Disks"
    case character = "Serial ports and character devices"
    case management = "Management"
    case process = "Process"
    case ignored = "Accepted for libvirt and ignored"
}

/// An option of the command line, as data: its grammar, its help and what it does.
struct OptionDefinition: Sendable {
    typealias Handler = @Sendable (inout CommandLineBuilder, ScannedOption) throws(CommandLineError) -> Void

    /// Spellings without dashes, the documented one first.
    let names: [String]
    let group: OptionGroup
    let value: OptionValue
    let isRepeatable: Bool
    let help: String
    let handler: Handler?

    init(
        _ names: [String], _ group: OptionGroup, _ value: OptionValue, isRepeatable: Bool = false, help: String,
        handler: Handler? = nil
    ) {
        self.names = names
        self.group = group
        self.value = value
        self.isRepeatable = isRepeatable
        self.help = help
        self.handler = handler
    }

    /// The documented spelling with its dash, as messages name the option.
    var label: String { "-" + (names.first ?? "") }
}

/// An option as it was found, with the words that belong to it.
struct ScannedOption: Sendable {
    let definition: OptionDefinition
    var words: [String]

    var label: String { definition.label }

    /// The only word of an option that takes one, empty if there is none.
    var word: String { words.first ?? "" }
}
