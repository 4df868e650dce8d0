"""What do the words of a pharma commercial question mean, and how is each KPI defined?"""
