internal import Watched

extension FuzzTarget {
    /// Shows that a bug is found. Not among `all`.
    static let planted = FuzzTarget("planted", maximumLength: 64, seeds: { [("harmless", Array("some".utf8))] }) { input in
        expect(PlantedParser.parse(input.rest()) == nil, "nothing gets this far")
    }
}
